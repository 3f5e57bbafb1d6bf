"""Where a known sound is in what was heard, and what became of it on the way.

The sound is looked for in pieces of half a second: pieces that lie further apart or closer together
than they were said tell of sound that was added or lost; a stretch without energy was muted, an end
without it cut off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.sound import spans

PIECE = RATE // 2
FRAME = RATE // 50
# A correlation below this is another sound.
ALIKE = 0.5
# How far a piece may have moved.
REACH = RATE * 3 // 2

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Match:
    """A sound as it was heard. Times in seconds from the answer, lengths in ms of sound.

    `altered_ms`: how far its pieces moved, or how much of it fell silent before its end.
    """

    start_secs: float
    end_secs: float
    altered_ms: float
    cut_off_ms: float


def find(sound: Samples, heard: Samples, *, after_secs: float) -> Match | None:
    """The first place behind `after_secs` where `sound` begins in `heard`; both at 8 kHz.

    None: its beginning is nowhere.
    """
    found = spans(sound, pause_secs=10.0)
    if not found:
        return None
    begin, end = round(found[0].start_secs * RATE), round(found[-1].end_secs * RATE)
    active = sound[begin:end].astype(np.float32)
    start = max(0, round(after_secs * RATE))
    line = heard[start:].astype(np.float32)
    head = _offset(active[:PIECE], line)
    if head is None:
        return None
    cut_ms = _cut_off_ms(active, line[head : head + active.size])
    kept = active[: active.size - round(cut_ms * RATE / 1000)]
    moved_ms, muted_ms = 0.0, _muted_ms(kept[:PIECE], line[head:])
    for at in range(PIECE, kept.size - PIECE // 2, PIECE):
        piece = kept[at : at + PIECE]
        low = max(0, head + at - REACH)
        place = _offset(piece, line[low : head + at + PIECE + REACH])
        if place is None:
            muted_ms += _muted_ms(piece, np.zeros_like(piece))
            continue
        moved_ms = max(moved_ms, abs(low + place - head - at) * 1000 / RATE)
        muted_ms += _muted_ms(piece, line[low + place :])
    at_secs = (start + head) / RATE
    end_secs = at_secs + active.size / RATE - cut_ms / 1000
    return Match(at_secs, end_secs, max(moved_ms, muted_ms), cut_ms)


def _offset(piece: NDArray[np.float32], line: NDArray[np.float32]) -> int | None:
    """Where in `line` the piece is: the earliest place that is as good as the best."""
    if piece.size < FRAME or line.size < piece.size or not piece.any():
        return None
    size = 1 << (line.size + piece.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(line, size) * np.conj(np.fft.rfft(piece, size)), size)
    places = product[: line.size - piece.size + 1]
    energy = np.concatenate(([0.0], np.cumsum(line.astype(np.float64) ** 2)))
    window = np.sqrt(np.maximum(energy[piece.size :] - energy[: -piece.size], 1.0))
    likeness = places / (window * np.linalg.norm(piece))
    best = float(likeness.max())
    if best < ALIKE:
        return None
    return int(np.argmax(likeness >= best * 0.98))


def _cut_off_ms(sound: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    heard = np.pad(heard, (0, max(0, sound.size - heard.size)))
    frames = sound.size // FRAME
    said = _levels(sound, frames)
    came = _levels(heard, frames)
    lost = 0
    for at in range(frames - 1, -1, -1):
        if came[at] > said[at] / 4:
            break
        lost += 1
    return lost * FRAME * 1000 / RATE


def _muted_ms(piece: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    """How much of a piece that was found is silence at the phone, but was none when it was said."""
    frames = min(piece.size, heard.size) // FRAME
    said, came = _levels(piece, frames), _levels(heard, frames)
    muted = (said > said.max(initial=0.0) / 10) & (came < said / 10)
    return float(muted.sum()) * FRAME * 1000 / RATE


def _levels(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    framed = samples[: frames * FRAME].reshape(frames, FRAME)
    levels: NDArray[np.float32] = np.sqrt((framed**2).mean(axis=1)) + 1.0
    return levels
