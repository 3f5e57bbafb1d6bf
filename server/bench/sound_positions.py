"""Where something is in a sound, to the sample."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

# How like a pattern a sound must be: resampling and mu-law change it a little, another sound is
# nothing like it.
LIKE = 0.7


def place_of(pattern: Samples, sound: Samples) -> int | None:
    """Where in a sound of the same rate a pattern is, to the sample; None when it is not there."""
    size = len(pattern) + len(sound)
    if not len(pattern) or not len(sound):
        return None
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(pattern, size))
    likeness = np.fft.irfft(spectrum, size)[: len(sound)]
    place = int(np.argmax(likeness))
    there = sound[place : place + len(pattern)].astype(np.float64)
    whole = np.linalg.norm(pattern.astype(np.float64)) * np.linalg.norm(there)
    return place if whole and likeness[place] >= LIKE * whole else None


def first_sound(samples: Samples, start: int, level: int) -> int | None:
    """The first sample from `start` on that is louder than `level`; None when there is none."""
    audible = np.flatnonzero(np.abs(samples[start:].astype(np.int32)) > level)
    return start + int(audible[0]) if audible.size else None


def last_sound(samples: Samples, start: int, end: int, level: int) -> int:
    """The last sample before `end` that is louder than `level`; `start` when there is none."""
    audible = np.flatnonzero(np.abs(samples[start:end].astype(np.int32)) > level)
    return start + int(audible[-1]) if audible.size else start
