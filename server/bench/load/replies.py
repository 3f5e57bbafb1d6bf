"""What the model says under load, message by message, as frames that are ready to be sent.

    beat  0        12       24       36       47|48                 70        99
          chunks, 40 ms each, twice as fast as heard | complete     heard you  next reply

Source of order and shapes: ai.google.dev/api/live, BidiGenerateContentServerMessage.
"""

import json
from functools import cache
from time import monotonic
from typing import Any
from uuid import uuid4

from websockets.frames import Frame, Opcode

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import SEQUENCES
from server.bench.load.sounds import (
    CHUNK_MS,
    CHUNKS_BETWEEN_MARKERS,
    CHUNKS_IN_REPLY,
    model_marker,
    model_speech,
)
from server.bench.load.trail import Sent
from server.bench.texts import GREETING
from server.emulators.gemini_live import server_messages as messages

BEATS_IN_REPLY = 100
_HEARD_AT = 70
_GREETING_CHUNKS = 20

_SAYS = ("Your appointment ", "is on Tuesday ", "at ten. Please ", "bring your card.")
_HEARS = ("Could you tell me ", "when that is?")
_USAGE = {
    "promptTokenCount": 420,
    "responseTokenCount": 48,
    "totalTokenCount": 468,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 60},
        {"modality": "AUDIO", "tokenCount": 360},
    ],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 48}],
}


def frame(message: dict[str, Any]) -> bytes:
    """A message as the server sends it: JSON in a binary frame."""
    return Frame(Opcode.BINARY, json.dumps(message).encode()).serialize(mask=False)


@cache
def _speech() -> tuple[bytes, ...]:
    return tuple(frame(messages.speech([chunk])) for chunk in model_speech())


@cache
def _texts() -> dict[int, bytes]:
    """What goes before the sound of a beat."""
    said = {
        number * CHUNKS_BETWEEN_MARKERS: frame(messages.output_transcription(piece))
        for number, piece in enumerate(_SAYS)
    }
    said[0] = frame(messages.resumption_update(None, None)) + said[0]
    said[_HEARD_AT] = b"".join(frame(messages.input_transcription(piece)) for piece in _HEARS)
    return said


@cache
def _complete() -> bytes:
    return frame(messages.generation_complete()) + frame(messages.turn_complete(_USAGE))


@cache
def greeting() -> bytes:
    """A greeting, all at once: what a session says that is asked to speak first."""
    parts = [frame(messages.output_transcription(GREETING)), *_speech()[:_GREETING_CHUNKS]]
    return b"".join((*parts, _complete()))


class Replies:
    """What one session says to its call, beat by beat. Chunks with a burst in them are its own."""

    def __init__(self, call: LoadedCall) -> None:
        self._call = call
        self._marked = [
            frame(messages.speech([model_marker(call.index, number)]))
            for number in range(SEQUENCES)
        ]
        self._sequence = 0
        self._position_ms = 0.0
        # Replies of different calls begin at different moments.
        self._beat = -(call.index * 61 % BEATS_IN_REPLY)

    def beat(self) -> bytes:
        """What is due at this beat, 20 ms after the one before; a burst in it is noted."""
        beat = self._beat
        self._beat = beat + 1 if beat + 1 < BEATS_IN_REPLY else 0
        if beat < 0:
            return b""
        text = _texts().get(beat, b"")
        if beat < CHUNKS_IN_REPLY:
            return text + self._chunk(beat)
        if beat == CHUNKS_IN_REPLY:
            return _complete() + frame(messages.resumption_update(uuid4().hex, None))
        return text

    def _chunk(self, beat: int) -> bytes:
        position_ms = self._position_ms
        self._position_ms = position_ms + CHUNK_MS
        if beat % CHUNKS_BETWEEN_MARKERS:
            speech = _speech()
            return speech[beat % len(speech)]
        sequence = self._sequence
        self._sequence = (sequence + 1) % SEQUENCES
        self._call.down.send(Sent(sequence, monotonic(), position_ms, begins_reply=beat == 0))
        return self._marked[sequence]
