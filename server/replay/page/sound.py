"""The sound of a call for a page: a stereo WAV small enough to embed, and its waveform.

The WAV is G.711 mu-law (format 7), as it was on the line: 16 kB a second, and browsers play it.
Source: RFC 2361, "WAVE and AVI Codec Registries", and Microsoft's "New Multimedia Data Types".
"""

import struct
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray

from server.emulators.twilio.mulaw import RATE, SILENCE, encode
from server.replay.results import Sound

_MULAW_FORMAT = 7
_FULL_SCALE = 32_768
# Half the height of a waveform, in the units of its path.
HALF_HEIGHT = 100
# What is quieter than this (of the half height) is drawn as silence: -40 dBFS.
_AUDIBLE = 1
_MOST_GAIN = 4.0
_BUCKETS_PER_SEC = 40
_FEWEST, _MOST = 200, 3_000


def secs_of(sound: Sound) -> float:
    """How long the sound lasts."""
    return max(len(sound.caller), len(sound.agent)) / 2 / RATE


def embedded_bytes(sound: Sound) -> int:
    """How many bytes of a page `data_uri` takes."""
    return round(secs_of(sound) * RATE) * 2 * 4 // 3


def stereo_wav(sound: Sound) -> bytes:
    """A mu-law WAV at 8 kHz: the caller left, the agent right. The shorter side ends in silence."""
    sides = [
        np.frombuffer(encode(_samples(side)), np.uint8) for side in (sound.caller, sound.agent)
    ]
    frames = np.full((max(len(side) for side in sides), 2), SILENCE, dtype=np.uint8)
    for column, side in enumerate(sides):
        frames[: len(side), column] = side
    data = frames.tobytes()
    form = struct.pack("<HHIIHHH", _MULAW_FORMAT, 2, RATE, 2 * RATE, 2, 8, 0)
    body = b"WAVE" + _chunk(b"fmt ", form) + _chunk(b"fact", struct.pack("<I", len(frames)))
    return _chunk(b"RIFF", body + _chunk(b"data", data))


def data_uri(sound: Sound) -> str:
    """`stereo_wav` as an address that needs no network."""
    return "data:audio/wav;base64," + b64encode(stereo_wav(sound)).decode()


def buckets_for(secs: float) -> int:
    """How many peaks show a call of this length well, also when the page is zoomed."""
    return int(min(max(secs * _BUCKETS_PER_SEC, _FEWEST), _MOST))


def gain(sound: Sound) -> float:
    """How much both sides are drawn higher, so that the louder one fills its lane."""
    loudest = max(
        int(np.abs(_samples(side).astype(np.int32)).max(initial=0))
        for side in (sound.caller, sound.agent)
    )
    return min(_MOST_GAIN, _FULL_SCALE / loudest) if loudest else 1.0


def peaks(pcm: bytes, buckets: int, secs: float, gain: float = 1.0) -> NDArray[np.int64]:
    """The lowest and highest sample of each bucket of `secs`: shape (buckets, 2), ±HALF_HEIGHT."""
    found = np.zeros((buckets, 2), dtype=np.int64)
    samples = _samples(pcm)[: max(1, round(secs * RATE))]
    if not len(samples):
        return found
    starts = np.unique(np.linspace(0, secs * RATE, buckets, endpoint=False).astype(int))
    starts = starts[starts < len(samples)]
    scale = gain * HALF_HEIGHT / _FULL_SCALE
    found[: len(starts), 0] = np.rint(np.minimum.reduceat(samples, starts) * scale)
    found[: len(starts), 1] = np.rint(np.maximum.reduceat(samples, starts) * scale)
    return found


def waveform(pcm: bytes, buckets: int, secs: float, gain: float = 1.0) -> str:
    """The path of an SVG: a shape for each stretch that can be heard; x is the bucket's number."""
    found = peaks(pcm, buckets, secs, gain)
    heard = np.flatnonzero(np.abs(found).max(axis=1) >= _AUDIBLE)
    if not len(heard):
        return ""
    shapes = np.split(heard, np.flatnonzero(np.diff(heard) > 1) + 1)
    return "".join(_shape(found, int(shape[0]), int(shape[-1]) + 1) for shape in shapes)


def _shape(found: NDArray[np.int64], first: int, end: int) -> str:
    """Along the highest samples to the right, and back along the lowest; y grows downward."""
    top = [f"L{x + 0.5:g} {-found[x, 1]}" for x in range(first, end)]
    bottom = [f"L{x + 0.5:g} {-found[x, 0]}" for x in range(end - 1, first - 1, -1)]
    return f"M{first} 0{''.join(top)}L{end} 0{''.join(bottom)}Z"


def _samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
