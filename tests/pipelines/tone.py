"""Sounds to send through a line."""

import audioop

import numpy as np


def pcm_tone(secs: float, rate: int, hz: float = 440.0, level: float = 6000.0) -> bytes:
    """A tone as PCM16 mono."""
    moments = np.arange(round(secs * rate)) / rate
    pcm: bytes = (level * np.sin(2 * np.pi * hz * moments)).astype("<i2").tobytes()
    return pcm


def mulaw_tone(secs: float, **kwargs: float) -> bytes:
    """A tone as mu-law at 8 kHz."""
    return audioop.lin2ulaw(pcm_tone(secs, 8000, **kwargs), 2)
