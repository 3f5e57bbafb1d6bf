"""What is sent over a line to hear what it does to sound, and what is told from what comes out.

All signals are sums of sines at whole numbers of hertz. So a second of them is a whole number of
periods, and the discrete Fourier transform of a second shows each sine in one bin and all else,
which is noise, in the others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float64]
FULL_SCALE = 32_768.0

# What a telephone carries (ITU-T G.712), in Hz.
LOWEST_HZ, HIGHEST_HZ = 300, 3_400
# Sines over that band for the frequency response.
RESPONSE_HZ = (300, 401, 601, 809, 1_009, 1_499, 2_003, 2_503, 3_001, 3_209, 3_400)
# Loud speech: the peaks of what follows stay below full scale.
SPEECH_DBFS = -18.0
SINE_DBFS = -10.0
_SPEECH_STEP_HZ = 97
# From here on speech is weaker by 8 dB with each octave.
_SPEECH_FALLS_FROM_HZ = 500
_SPEECH_FALL_DB = 8.0


@dataclass(frozen=True, slots=True)
class Tones:
    """A sum of sines: frequencies in whole Hz, amplitudes in PCM16 steps, phases in radians."""

    hz: NDArray[np.int64]
    amplitudes: Sound
    phases: Sound

    @property
    def power(self) -> float:
        """Mean square."""
        return float((self.amplitudes**2).sum() / 2)

    def sound(self, rate: int, secs: float, *, late_secs: float = 0.0) -> Sound:
        """The sum at `rate` Hz, as it sounds `late_secs` later."""
        moments = np.arange(round(rate * secs)) / rate - late_secs
        sound = np.zeros(moments.size)
        for hz, amplitude, phase in zip(self.hz, self.amplitudes, self.phases, strict=True):
            sound += amplitude * np.sin(2 * np.pi * hz * moments + phase)
        return sound


def sine(hz: int, dbfs: float = SINE_DBFS) -> Tones:
    """One sine, its peak at `dbfs`."""
    amplitude = FULL_SCALE * 10 ** (dbfs / 20)
    return Tones(np.array([hz]), np.array([amplitude]), np.array([0.5]))


def speech_like() -> Tones:
    """Sines all over the telephone's band, as strong there as speech is; always the same."""
    hz = np.arange(LOWEST_HZ + 17, HIGHEST_HZ, _SPEECH_STEP_HZ)
    octaves = np.maximum(0.0, np.log2(hz / _SPEECH_FALLS_FROM_HZ))
    amplitudes = 10 ** (-_SPEECH_FALL_DB * octaves / 20)
    amplitudes *= FULL_SCALE * 10 ** (SPEECH_DBFS / 20) / np.sqrt((amplitudes**2).sum() / 2)
    # Phases that no two neighbours share: the peaks do not fall together.
    order = np.arange(hz.size)
    return Tones(hz, amplitudes, np.pi * order**2 / hz.size)


@dataclass(frozen=True, slots=True)
class Fit:
    """One second of what was heard, as the original with one gain and one delay, and noise."""

    gain_db: float
    late_secs: float
    snr_db: float


def fit(heard: Sound, rate: int, tones: Tones) -> Fit:
    """How a second of `tones` was heard, at `rate` Hz. Delays are told up to a second."""
    late_secs = _delay(heard, rate, tones)
    ideal = tones.sound(rate, 1.0, late_secs=late_secs)
    gain = float(ideal @ heard / (ideal @ ideal))
    signal = gain**2 * float(ideal @ ideal)
    noise = float(((heard - gain * ideal) ** 2).sum())
    return Fit(decibels(gain**2), late_secs, decibels(signal / max(noise, 1e-9)))


def power_beyond(heard: Sound, hz: float) -> float:
    """Mean square of what a second of sound has above a frequency."""
    spectrum = np.fft.rfft(heard) / heard.size
    return float(2 * (np.abs(spectrum[int(hz) + 1 :]) ** 2).sum())


def decibels(power_ratio: float) -> float:
    """A ratio of powers in dB; nothing at all is -200 dB."""
    return float(10 * np.log10(max(power_ratio, 1e-20)))


def _delay(heard: Sound, rate: int, tones: Tones) -> float:
    """Where the original is found in what was heard, in seconds, from 0 to 1."""
    within = tones.hz <= rate // 2
    hz, amplitudes, phases = (one[within] for one in (tones.hz, tones.amplitudes, tones.phases))
    # The spectrum of a sine of phase p has the phase p - 90 degrees.
    found = np.fft.rfft(heard)[hz] * amplitudes * np.exp(-1j * (phases - np.pi / 2))
    steps = 1 << 17
    spectrum = np.zeros(steps // 2 + 1, dtype=complex)
    spectrum[hz] = found
    late_secs = int(np.argmax(np.fft.irfft(spectrum, steps))) / steps
    # Within that step: how far each sine's phase still is from where it should be.
    turns = 2 * np.pi * hz
    off = np.angle(found * np.exp(1j * turns * late_secs))
    weights = np.abs(found)
    return late_secs - float((weights * turns * off).sum() / (weights * turns**2).sum())
