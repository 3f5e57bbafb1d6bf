"""TwiML: what Twilio is told, as Twilio reads it."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.twilio import twiml

# What XML and a template read otherwise, and letters of any kind.
ODD = st.one_of(st.sampled_from("$&<>\"'{}"), st.characters(categories=("L", "N")))


def test_a_stream_is_followed_by_a_redirect_to_us() -> None:
    document = ElementTree.fromstring(
        twiml.open_stream(
            url="wss://v.example.com/twilio/media/1",
            status_url="https://v.example.com/twilio/stream-status/1",
            token="a.b&c",
            next_url="https://v.example.com/twilio/twiml/1",
        )
    )
    assert [verb.tag for verb in document] == ["Connect", "Redirect"]
    stream = document[0][0]
    assert stream.attrib["url"] == "wss://v.example.com/twilio/media/1"
    assert stream.attrib["statusCallback"].endswith("/stream-status/1")
    assert stream[0].attrib == {"name": "token", "value": "a.b&c"}
    assert document[1].attrib["method"] == "POST"
    assert document[1].text == "https://v.example.com/twilio/twiml/1"


@given(st.tuples(*[st.text(ODD) for _ in range(4)]))
def test_whatever_stands_in_an_address_is_read_as_it_was(told: tuple[str, str, str, str]) -> None:
    url, status_url, token, next_url = told
    document = ElementTree.fromstring(
        twiml.open_stream(url=url, status_url=status_url, token=token, next_url=next_url)
    )
    stream = document[0][0]
    assert (stream.attrib["url"], stream.attrib["statusCallback"]) == (url, status_url)
    assert stream[0].attrib["value"] == token
    assert (document[1].text or "") == next_url


@pytest.mark.parametrize(
    ("language", "locale", "begins"),
    [
        ("de-AT", "de-AT", "Entschuldigung"),
        ("fr", "fr-FR", "Désolé"),
        ("es-MX", "es-MX", "Lo siento"),
        ("en-GB", "en-GB", "I am sorry"),
        ("tlh", "en-US", "I am sorry"),
    ],
)
def test_an_apology_is_in_the_language_of_the_call_or_in_english(
    language: str, locale: str, begins: str
) -> None:
    document = ElementTree.fromstring(twiml.say_and_hang_up("no_model", language))
    assert [verb.tag for verb in document] == ["Say", "Hangup"]
    assert document[0].attrib["language"] == locale
    assert (document[0].text or "").startswith(begins)


def test_every_sentence_is_there_in_every_language() -> None:
    for words in twiml.SENTENCES.values():
        assert words.keys() == twiml.LOCALES.keys()


def test_a_caller_is_handed_on_and_the_call_ends_after_it() -> None:
    document = ElementTree.fromstring(twiml.transfer("+15550100777", caller_id="+15550100999"))
    assert [verb.tag for verb in document] == ["Dial", "Hangup"]
    assert document[0].text == "+15550100777"
    assert document[0].attrib["callerId"] == "+15550100999"


def test_a_caller_whose_agent_failed_is_told_so_and_handed_on() -> None:
    text = twiml.transfer("+15550100777", caller_id=None, sentence="handed_on", language="de-AT")
    document = ElementTree.fromstring(text)
    assert [verb.tag for verb in document] == ["Say", "Dial", "Hangup"]
    assert document[0].attrib["language"] == "de-AT"
    assert (document[0].text or "").startswith("Entschuldigung")


def test_hanging_up_is_one_verb() -> None:
    assert [verb.tag for verb in ElementTree.fromstring(twiml.hang_up())] == ["Hangup"]
