"""The caller's question: tones of which each 40 ms can be found again in what a session was sent.

tone      500 Hz  565 Hz  630 Hz … 3,035 Hz      1,600 ms in 40 steps, loud as speech
session   …|500|565|565|630|…                    what is missing was lost, what is twice doubled
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

TONES = 40
TONE_MS = 40
LOWEST_HZ = 500.0
STEP_HZ = 65.0
LOUDNESS = 9_000.0
# Quieter is no tone.
QUIETEST = 1_000.0
FRAME_MS = 20
QUESTION_SECS = TONES * TONE_MS / 1000


def question(rate: int) -> bytes:
    """The question as PCM16 at `rate` Hz."""
    count = rate * TONE_MS // 1000
    steps = np.repeat(LOWEST_HZ + STEP_HZ * np.arange(TONES), count)
    phase = 2 * np.pi * np.cumsum(steps) / rate
    return (np.sin(phase) * LOUDNESS).astype("<i2").tobytes()


def tones_in(pcm: bytes, rate: int) -> Counter[int]:
    """How often each tone begins in PCM16 at `rate` Hz."""
    size = rate * FRAME_MS // 1000
    samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2).astype(np.float64)
    found: Counter[int] = Counter()
    before: int | None = None
    for start in range(0, len(samples) - size + 1, size):
        tone = _tone(samples[start : start + size], rate)
        if tone is not None and tone != before:
            found[tone] += 1
        before = tone
    return found


def _tone(frame: NDArray[np.float64], rate: int) -> int | None:
    if np.sqrt(np.mean(frame**2)) < QUIETEST:
        return None
    padded = 2048
    spectrum = np.abs(np.fft.rfft(frame * np.hanning(len(frame)), padded))
    hz = float(np.argmax(spectrum)) * rate / padded
    tone = round((hz - LOWEST_HZ) / STEP_HZ)
    return tone if 0 <= tone < TONES else None
