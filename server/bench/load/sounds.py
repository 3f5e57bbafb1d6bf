"""What callers and models say under load: prepared once, speech-like, with markers in it.

caller   |marker|speech 480 ms|marker|speech 480 ms|…     20 ms a packet, without end
model    |marker|speech 460 ms| × 4, pause 80 ms, |…      40 ms a chunk, 1.92 s a reply
"""

import audioop
from functools import cache

import numpy as np

from pipelines.rates import GEMINI_SPEAKS_AT, MULAW_SILENCE, PACKET_BYTES, PHONE_RATE
from server.bench.audio_signals import speech_like
from server.bench.load.markers import SEQUENCES, SPEECH_PEAK, Marker, Pcm, burst

# A caller who says nothing.
SILENT_PACKET = bytes((MULAW_SILENCE,)) * PACKET_BYTES
CHUNK_MS = 40
_CHUNK_BYTES = 2 * GEMINI_SPEAKS_AT * CHUNK_MS // 1000
# A caller's burst is a packet of its own; in no step with anything that happens every so often.
PACKETS_BETWEEN_MARKERS = 23
CHUNKS_BETWEEN_MARKERS = 12
CHUNKS_IN_REPLY = 48
# The caller's and the model's speech repeat after so long.
_LOOP_SECS = 2


def speech(rate: int) -> Pcm:
    """Two seconds that repeat without a seam: as strong as speech, softer than any marker."""
    voice = speech_like().sound(rate, _LOOP_SECS)
    sound: Pcm = np.rint(voice * (SPEECH_PEAK / np.abs(voice).max())).astype(np.int16)
    return sound


@cache
def caller_speech() -> tuple[bytes, ...]:
    """The packets of the caller's speech: mu-law."""
    return _cut(audioop.lin2ulaw(speech(PHONE_RATE).tobytes(), 2), PACKET_BYTES)


def caller_markers(call: int) -> tuple[bytes, ...]:
    """The packets that say who calls, by their sequence number: mu-law."""
    bursts = (burst(Marker(call, number), PHONE_RATE) for number in range(SEQUENCES))
    return tuple(audioop.lin2ulaw(one.tobytes(), 2) for one in bursts)


@cache
def model_speech() -> tuple[bytes, ...]:
    """The chunks of the model's speech: PCM16."""
    return _cut(speech(GEMINI_SPEAKS_AT).tobytes(), _CHUNK_BYTES)


def model_marker(call: int, sequence: int) -> bytes:
    """A chunk that begins with a burst: PCM16."""
    head = burst(Marker(call, sequence), GEMINI_SPEAKS_AT).tobytes()
    return head + model_speech()[0][len(head) :]


def _cut(sound: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(sound[at : at + size] for at in range(0, len(sound), size))
