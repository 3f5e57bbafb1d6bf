"""Decodes and encodes Twilio's media stream messages, and decodes their mu-law. No I/O.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import audioop
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any


class StreamError(ValueError):
    """A message that Twilio would not send; the exception says what is wrong."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a socket."""

    protocol: str


@dataclass(frozen=True, slots=True)
class Start:
    """The second message. `parameters` come from TwiML's `<Parameter>`."""

    stream_sid: str
    call_sid: str
    account_sid: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Media:
    """The caller's sound: mu-law at 8 kHz, 160 bytes (20 ms) from the real Twilio."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed: one of `0-9*#ABCD`."""

    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Playback has reached a mark, or a `clear` has dropped it."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream was stopped, or the call is over."""


Message = Connected | Start | Media | Dtmf | Mark | Stop

# Twilio's payloads are 160 bytes. No sender batches a second of audio.
MAX_PAYLOAD_BYTES = 8_000
DIGITS = frozenset("0123456789*#ABCD")


# A media message in Twilio's notation, before and after its payload.
_BEFORE_PAYLOAD = re.compile(
    r'\{ "event" : "media" , "sequenceNumber" : "\d+" , "media" : \{ "track" : "inbound" , '
    r'"chunk" : "\d+" , "timestamp" : "\d+" , "payload" : "'.replace(" ", " ?"),
    re.ASCII,
)
_BEHIND_PAYLOAD = re.compile(r'" \} , "streamSid" : "\w+" \}'.replace(" ", " ?"), re.ASCII)


def decode(text: str) -> Message:
    """Decode one message from Twilio.

    Raises: StreamError for anything that is not a message of the protocol.
    """
    return _usual_media(text) or _any(text)


def mulaw_to_pcm(payload: bytes) -> bytes:
    """Decode the payload of a media message: mu-law to PCM16, both at 8 kHz."""
    return audioop.ulaw2lin(payload, 2)


def _usual_media(text: str) -> Media | None:
    """Match a media message in Twilio's usual notation, without a JSON parser; None: no match."""
    before = _BEFORE_PAYLOAD.match(text)
    if before is None:
        return None
    end = text.find('"', before.end())
    if end < 0 or _BEHIND_PAYLOAD.fullmatch(text, end) is None:
        return None
    try:
        return Media(_payload(text[before.end() : end]))
    except StreamError:
        return None  # `_any` reports what is wrong with it


def _any(text: str) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StreamError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise StreamError("not a JSON object")
    event = message.get("event")
    if event == "media":
        return Media(_payload(_text(_part(message, "media"), "payload")))
    if event == "mark":
        return Mark(_text(_part(message, "mark"), "name"))
    if event == "dtmf":
        return _dtmf(_part(message, "dtmf"))
    if event == "start":
        return _start(message)
    if event == "connected":
        return Connected(_text(message, "protocol"))
    if event == "stop":
        return Stop()
    raise StreamError(f"unknown event {str(event)[:40]!r}")


def encode_media(stream_sid: str, payload: bytes) -> str:
    """A message that appends `payload` (mu-law, 8 kHz) to what Twilio plays.

    Formatted without a JSON encoder, which base64 does not need: this runs for every packet.
    """
    sound = binascii.b2a_base64(payload, newline=False).decode("ascii")
    return f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"{sound}"}}}}'


def around_payload(stream_sid: str) -> tuple[str, str]:
    """What is before and behind the base64 in `encode_media`'s messages of a stream."""
    return f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"', '"}}'


def encode_mark(stream_sid: str, name: str) -> str:
    """A mark, which Twilio sends back once everything before it was played."""
    return json.dumps({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def encode_clear(stream_sid: str) -> str:
    """A clear message: Twilio empties its queue, and sends back all marks in it."""
    return json.dumps({"event": "clear", "streamSid": stream_sid})


def _part(message: dict[str, Any], key: str) -> dict[str, Any]:
    part = message.get(key)
    if not isinstance(part, dict):
        raise StreamError(f"{key!r} is missing or not an object")
    return part


def _text(part: dict[str, Any], key: str) -> str:
    text = part.get(key)
    if not isinstance(text, str):
        raise StreamError(f"{key!r} is missing or not a string")
    return text


def _payload(text: str) -> bytes:
    try:
        payload = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise StreamError("the media payload is not base64") from None
    if not payload:
        raise StreamError("the media payload is empty")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise StreamError(f"a media payload of {len(payload)} bytes is over {MAX_PAYLOAD_BYTES}")
    return payload


def _dtmf(part: dict[str, Any]) -> Dtmf:
    digit = _text(part, "digit")
    if digit not in DIGITS or len(digit) != 1:
        raise StreamError(f"{digit[:10]!r} is no key of a telephone")
    return Dtmf(digit)


def _start(message: dict[str, Any]) -> Start:
    part = _part(message, "start")
    stream_sid = _text(part, "streamSid")
    # It is put into every message to Twilio without escaping.
    if not stream_sid.isalnum() or not stream_sid.isascii() or len(stream_sid) > 64:
        raise StreamError("the stream SID is not a SID")
    media_format = _part(part, "mediaFormat")
    shape = (media_format.get("encoding"), media_format.get("sampleRate"))
    if shape[0] != "audio/x-mulaw" or str(shape[1]) != "8000":
        raise StreamError(f"the stream is {shape[0]} at {shape[1]} Hz, not mu-law at 8000 Hz")
    parameters = part.get("customParameters", {})
    if not isinstance(parameters, dict) or not all(
        isinstance(value, str) for value in parameters.values()
    ):
        raise StreamError("'customParameters' is not an object of strings")
    return Start(stream_sid, _text(part, "callSid"), _text(part, "accountSid"), parameters)
