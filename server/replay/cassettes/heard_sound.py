"""Both sides of a cassette as they were heard: the agent's sound is queued, and dropped by a clear.

sent    |====|====|            clear           |===|
heard   |....|....|....|....|..x               |...|...|
"""

import audioop
import base64
import json
from collections.abc import Sequence

from pipelines.phone.twilio_serializer import Media, StreamError, decode
from pipelines.rates import MULAW_SILENCE, PHONE_RATE
from pipelines.recording.tape import Kind
from server.cassettes.columns import Message
from server.replay.results import Sound


def caller_mulaw(messages: Sequence[Message]) -> bytes:
    """The caller's mu-law, byte for byte as it came, over all streams of the call."""
    return b"".join(
        payload
        for message in messages
        if message.kind is Kind.PHONE_IN and (payload := mulaw_of(message.content))
    )


def mulaw_of(text: str) -> bytes:
    """The mu-law of a message from Twilio; empty for all others, and for what was refused."""
    try:
        message = decode(text)
    except StreamError:
        return b""
    return message.payload if isinstance(message, Media) else b""


def both_sides(messages: Sequence[Message], answered_at: float) -> Sound:
    """PCM16 at 8 kHz of both sides from the answer on, equally long."""
    caller = caller_mulaw(messages)
    agent = bytearray()
    for message in messages:
        if message.kind is not Kind.PHONE_OUT:
            continue
        now = max(0, round((message.at - answered_at) * PHONE_RATE))
        if payload := _sent(message.content):
            agent += bytes([MULAW_SILENCE]) * (now - len(agent)) + payload
        elif json.loads(message.content)["event"] == "clear":
            del agent[now:]
    length = max(len(caller), len(agent))
    sides = (
        audioop.ulaw2lin(bytes(side).ljust(length, bytes([MULAW_SILENCE])), 2)
        for side in (caller, agent)
    )
    return Sound(*sides)


def _sent(text: str) -> bytes:
    """The mu-law of a message to Twilio; empty for all others."""
    message = json.loads(text)
    return base64.b64decode(message["media"]["payload"]) if message["event"] == "media" else b""
