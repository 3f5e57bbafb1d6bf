"""Loud bursts in prepared speech that say whose they are and which in order. No clock, no I/O.

    speech ~~~~~~~|burst|~~~~~~~~~~~~~~~~~~~~~|burst|~~~~~~~
                  20 ms: five tones at once, one of nine in each of five bands

Three tones number the call, one the burst, and one checks the others. Tones are multiples of
62.5 Hz below 3.2 kHz, so that each is one bin of the Fourier transform of 16 ms, whatever its
phase: mu-law, 8 → 16 kHz and 24 → 8 kHz leave them what they are.
"""

import audioop
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

BURST_MS = 20
# Sequence numbers begin anew after so many.
SEQUENCES = 9
MOST_CALLS = 9**3
# Where a burst peaks, and from where on a sample is part of one; speech stays below `SPEECH_PEAK`.
BURST_PEAK = 26_000
LOUD = 12_000
SPEECH_PEAK = 6_000

_WINDOW_MS = 16
_BANDS, _TONES = 5, 9
_LOWEST, _STEP_HZ = 7, 62.5
# The tone of a band must have so much more energy than any other of it.
_CLEARLY = 4.0
# A burst rings on in filters; so long after its onset nothing is taken for another.
_DEAF_MS = 30


@dataclass(frozen=True, slots=True)
class Marker:
    """What a burst says."""

    call: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A burst that was heard: where it begins, in samples; when its middle came. None: garbled."""

    marker: Marker | None
    onset: int
    at: float


def burst(marker: Marker, rate: int) -> Pcm:
    """20 ms of PCM16 at `rate` Hz, at its loudest at the beginning, so that its onset is sharp."""
    times = np.arange(rate * BURST_MS // 1000) / rate - 0.0005
    steps = [_LOWEST + band * _TONES + tone for band, tone in enumerate(_code(marker))]
    tones = [np.cos(2 * np.pi * step * _STEP_HZ * times) for step in steps]
    sound: Pcm = np.rint(-BURST_PEAK / _BANDS * np.sum(tones, axis=0)).astype(np.int16)
    return sound


def read(window: Pcm) -> Marker | None:
    """What the first 16 ms of a burst say; None when they make no sense."""
    energies = np.square(np.abs(np.fft.rfft(window)))[_LOWEST : _LOWEST + _BANDS * _TONES]
    by_band = energies.reshape(_BANDS, _TONES)
    two = np.sort(by_band, axis=1)[:, -2:]
    if (two[:, 1] < _CLEARLY * two[:, 0]).any():
        return None
    high, middle, low, sequence, check = (int(tone) for tone in by_band.argmax(axis=1))
    if check != (high + middle + low + sequence) % _TONES:
        return None
    return Marker((high * _TONES + middle) * _TONES + low, sequence)


class Ear:
    """Listens to PCM16 mono at `rate` Hz, packet by packet, and counts its samples."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._needs = rate * _WINDOW_MS // 1000
        self._middle = rate * BURST_MS // 2000
        self._deaf = rate * _DEAF_MS // 1000
        self._deaf_until = 0
        self._onset = -1
        self._at = 0.0
        self._burst: list[Pcm] = []
        # How many samples were heard.
        self.samples = 0

    def hear(self, pcm: bytes, at: float) -> Heard | None:
        """Listen to what came at this moment; a burst, when this completes one."""
        start = self.samples
        self.samples = stop = start + len(pcm) // 2
        if self._onset < 0:
            if stop <= self._deaf_until or -audioop.minmax(pcm, 2)[0] < LOUD:
                return None
            samples = np.frombuffer(pcm, "<i2")
            skipped = max(0, self._deaf_until - start)
            loud = np.flatnonzero(samples[skipped:] < -LOUD)
            if not loud.size:
                return None
            begins = skipped + int(loud[0])
            self._onset, self._at = start + begins, -1.0
            self._burst = [samples[begins:]]
        else:
            self._burst.append(np.frombuffer(pcm, "<i2"))
        if self._at < 0 and stop > self._onset + self._middle:
            self._at = at
        if stop - self._onset < self._needs:
            return None
        window = np.concatenate(self._burst)[: self._needs]
        heard = Heard(read(window), self._onset, self._at)
        self._deaf_until = self._onset + self._deaf
        self._onset = -1
        self._burst = []
        return heard


def _code(marker: Marker) -> tuple[int, ...]:
    high, rest = divmod(marker.call, _TONES * _TONES)
    digits = (high, *divmod(rest, _TONES), marker.sequence)
    return (*digits, sum(digits) % _TONES)
