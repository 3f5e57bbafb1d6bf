"""What callers and models say under load: prepared once, speech-like, with markers in it.

caller   |marker|speech 480 ms|marker|speech 480 ms|…     20 ms a packet, without end
model    |marker|speech 460 ms| × 4, pause 80 ms, |…      40 ms a chunk, 1.92 s a reply
"""

import audioop
import base64
from functools import cache

import numpy as np

from server.bench.audio_signals import speech_like
from server.bench.load.markers import SEQUENCES, SPEECH_PEAK, Marker, Pcm, burst

PHONE_RATE = 8_000  # Hz
MODEL_SPEAKS_AT = 24_000  # Hz
PACKET_MS = 20
PACKET = PHONE_RATE * PACKET_MS // 1000  # samples
CHUNK_MS = 40
CHUNK = MODEL_SPEAKS_AT * CHUNK_MS // 1000  # samples
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
def caller_speech() -> tuple[str, ...]:
    """The packets of the caller's speech: mu-law in base64."""
    pcm = speech(PHONE_RATE).tobytes()
    return tuple(_packet(pcm[at : at + 2 * PACKET]) for at in range(0, len(pcm), 2 * PACKET))


def caller_markers(call: int) -> tuple[str, ...]:
    """The packets that say who calls, by their sequence number: mu-law in base64."""
    bursts = (burst(Marker(call, number), PHONE_RATE) for number in range(SEQUENCES))
    return tuple(_packet(one.tobytes()) for one in bursts)


@cache
def model_speech() -> tuple[bytes, ...]:
    """The chunks of the model's speech: PCM16."""
    pcm = speech(MODEL_SPEAKS_AT).tobytes()
    return tuple(pcm[at : at + 2 * CHUNK] for at in range(0, len(pcm), 2 * CHUNK))


def model_marker(call: int, sequence: int) -> bytes:
    """A chunk that begins with a burst: PCM16."""
    head = burst(Marker(call, sequence), MODEL_SPEAKS_AT).tobytes()
    return head + model_speech()[0][len(head) :]


@cache
def silent_packet() -> str:
    """A packet of a caller who says nothing."""
    return _packet(bytes(2 * PACKET))


def _packet(pcm: bytes) -> str:
    return base64.b64encode(audioop.lin2ulaw(pcm, 2)).decode()
