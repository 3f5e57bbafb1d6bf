"""Comfort noise: what a line sounds like while nobody speaks, at a given level (RFC 3389)."""

import audioop
import random
from functools import lru_cache

import numpy as np

# Samples of noise to take packets from, each from another place: no ear finds the same one twice.
_SAMPLES = 32_768
_LEVEL = 4_000.0


def comfort_noise(level: float, samples: int) -> bytes:
    """White noise as PCM16; `level` is its root mean square in units of a sample."""
    factor = level / _LEVEL
    pieces = []
    while samples > 0:
        taken = min(samples, _SAMPLES // 2)
        start = 2 * random.randrange(_SAMPLES - taken)  # noqa: S311 - a sound, no secret
        pieces.append(audioop.mul(_noise()[start : start + 2 * taken], 2, factor))
        samples -= taken
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@lru_cache(maxsize=1)
def _noise() -> bytes:
    noise = np.random.default_rng(3389).normal(0.0, _LEVEL, _SAMPLES)
    return bytes(np.clip(noise, -32_768, 32_767).astype("<i2").tobytes())
