import pytest

from server.emulators.twilio.errors import Code
from server.emulators.twilio.twiml import (
    Dial,
    Hangup,
    Pause,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlError,
    parse,
)


def test_reads_every_verb_in_order() -> None:
    document = """<?xml version="1.0" encoding="UTF-8"?>
    <Response>
      <Say language="es-ES">Hola,
        mundo</Say>
      <Pause length="2"/>
      <Connect action="/after">
        <Stream url="wss://a.b/c" name="line" statusCallback="/s" statusCallbackMethod="GET">
          <Parameter name="token" value="t&amp;1"/><Parameter name="empty"/>
        </Stream>
      </Connect>
      <Dial timeout="9" callerId="+15550001"><Number>+15550200</Number></Dial>
      <Dial>+15550201</Dial>
      <Redirect method="GET">https://a.b/next</Redirect>
      <Reject reason="busy"/>
      <Hangup/>
    </Response>"""
    assert parse(document) == [
        Say("Hola, mundo", "es-ES"),
        Pause(2.0),
        Stream("wss://a.b/c", "line", "/s", "GET", {"token": "t&1", "empty": ""}, action="/after"),
        Dial("+15550200", 9.0, "+15550001"),
        Dial("+15550201"),
        Redirect("https://a.b/next", "GET"),
        Reject("busy"),
        Hangup(),
    ]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", Code.TWIML_UNPARSABLE),
        ("<Response><Say>", Code.TWIML_UNPARSABLE),
        ("<Answer/>", Code.TWIML_UNPARSABLE),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Response/>', Code.TWIML_UNPARSABLE),
        ("<Response><Sing/></Response>", Code.TWIML_UNKNOWN_VERB),
        ("<Response><say>hi</say></Response>", Code.TWIML_UNKNOWN_VERB),
        ("<Response><Connect/></Response>", Code.TWIML_UNKNOWN_VERB),
        ("<Response><Connect><Stream/></Connect></Response>", Code.TWIML_UNKNOWN_VERB),
        ("<Response><Redirect/></Response>", Code.TWIML_UNKNOWN_VERB),
        ("<Response><Dial/></Response>", Code.TWIML_UNKNOWN_VERB),
        ('<Response><Pause length="long"/></Response>', Code.TWIML_UNKNOWN_VERB),
        ('<Response><Redirect method="PUT">u</Redirect></Response>', Code.TWIML_UNKNOWN_VERB),
    ],
)
def test_refuses_what_twilio_would_not_follow(document: str, code: Code) -> None:
    with pytest.raises(TwimlError) as refused:
        parse(document)
    assert refused.value.code is code
