"""The codec of Twilio's media stream: what it takes, what it refuses, what it writes."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.phone import twilio_serializer
from pipelines.phone.twilio_serializer import (
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    StreamError,
    decode,
    encode_clear,
    encode_mark,
    encode_media,
)

START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ0123456789abcdef0123456789abcdef",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ0123456789abcdef0123456789abcdef",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t"},
    },
}


def changed(path: list[str], value: object) -> str:
    """`START` with one value replaced, as JSON."""
    message = json.loads(json.dumps(START))
    part = message
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"event":"connected","protocol":"Call","version":"1.0.0"}', Connected("Call")),
        (
            json.dumps(START),
            Start("MZ0123456789abcdef0123456789abcdef", "CA1", "AC1", {"token": "t"}),
        ),
        ('{"event":"media","media":{"payload":"//8A"}}', Media(b"\xff\xff\x00")),
        ('{"event":"dtmf","dtmf":{"digit":"#"}}', Dtmf("#")),
        ('{"event":"mark","mark":{"name":"1:500"}}', Mark("1:500")),
        ('{"event":"stop","stop":{}}', Stop()),
    ],
)
def test_every_message_of_twilio_is_read(text: str, expected: object) -> None:
    assert decode(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (f'{{"event":"stop","sequenceNumber":{"1" * 5_000}}}', "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "unknown event"),
        ('{"event":"video"}', "unknown event 'video'"),
        ('{"event":"media"}', "'media' is missing"),
        ('{"event":"media","media":{"payload":5}}', "'payload' is missing or not a string"),
        ('{"event":"media","media":{"payload":"a"}}', "not base64"),
        ('{"event":"media","media":{"payload":"\\u00e9"}}', "not base64"),
        ('{"event":"media","media":{"payload":""}}', "empty"),
        (f'{{"event":"media","media":{{"payload":"{"A" * 12000}"}}}}', "9000 bytes is over 8000"),
        ('{"event":"dtmf","dtmf":{"digit":"x"}}', "no key"),
        ('{"event":"dtmf","dtmf":{"digit":"12"}}', "no key"),
        ('{"event":"mark","mark":{}}', "'name' is missing"),
        (changed(["start", "streamSid"], 'MZ"},'), "not a SID"),
        (changed(["start", "mediaFormat", "encoding"], "audio/L16"), "not mu-law"),
        (changed(["start", "mediaFormat", "sampleRate"], 16000), "not mu-law at 8000"),
        (changed(["start", "customParameters"], {"token": 1}), "not an object of strings"),
    ],
)
def test_what_twilio_would_not_send_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(StreamError, match=says):
        decode(text)


def test_a_rate_as_a_string_is_read() -> None:
    assert isinstance(decode(changed(["start", "mediaFormat", "sampleRate"], "8000")), Start)


OUTCOMES = {Connected, Start, Media, Dtmf, Mark, Stop, StreamError}


def outcome(text: str) -> type:
    """What a text is read as; any other exception than StreamError is a fault and passes on."""
    try:
        return type(decode(text))
    except StreamError:
        return StreamError


@given(st.text())
@example('{"event":null}')
@example('{"event":"media","media":[]}')
def test_any_text_is_a_message_or_a_stream_error(text: str) -> None:
    assert outcome(text) in OUTCOMES


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(
    st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop"]),
    st.dictionaries(
        st.sampled_from(["start", "media", "dtmf", "mark", "protocol"]),
        JSON_VALUES | st.dictionaries(st.sampled_from(["payload", "digit", "name"]), JSON_VALUES),
    ),
)
def test_any_shape_is_a_message_or_a_stream_error(event: str, parts: dict[str, object]) -> None:
    assert outcome(json.dumps({"event": event, **parts})) in OUTCOMES


@given(st.binary(min_size=1, max_size=8000))
def test_a_payload_survives_the_way_out_and_in(payload: bytes) -> None:
    text = encode_media("MZ1", payload)
    assert decode(text) == Media(payload)
    assert json.loads(text) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": base64.b64encode(payload).decode()},
    }


@given(st.text())
def test_a_mark_survives_the_way_out_and_in(name: str) -> None:
    assert decode(encode_mark("MZ1", name)) == Mark(name)


def test_clear_is_the_message_that_twilio_documents() -> None:
    assert json.loads(encode_clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}


@given(
    st.binary(min_size=1, max_size=400),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
    st.permutations(["event", "sequenceNumber", "media", "streamSid"]),
    st.sampled_from(["inbound", "outbound"]),
    st.integers(0, 10**12),
)
def test_media_is_the_same_however_it_is_written(
    payload: bytes, separators: tuple[str, str], keys: list[str], track: str, number: int
) -> None:
    sound = base64.b64encode(payload).decode()
    counted = {"track": track, "chunk": str(number), "timestamp": str(number), "payload": sound}
    message = {
        "event": "media",
        "sequenceNumber": str(number),
        "media": counted,
        "streamSid": "MZ0123456789abcdef0123456789abcdef",
    }
    text = json.dumps({key: message[key] for key in keys}, separators=separators)
    assert decode(text) == twilio_serializer._any(text) == Media(payload)


@given(st.data())
def test_one_wrong_character_in_usual_media_is_read_as_the_parser_reads_it(
    data: st.DataObject,
) -> None:
    sound = base64.b64encode(b"sound").decode()
    usual = json.dumps(
        {
            "event": "media",
            "sequenceNumber": "4",
            "media": {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": sound},
            "streamSid": "MZ1",
        }
    )
    place = data.draw(st.integers(0, len(usual) - 1))
    text = usual[:place] + data.draw(st.characters()) + usual[place + 1 :]

    def outcome(read: Callable[[str], object]) -> object:
        try:
            return read(text)
        except StreamError as error:
            return str(error)

    assert outcome(decode) == outcome(twilio_serializer._any)
