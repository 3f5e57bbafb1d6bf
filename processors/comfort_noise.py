"""Comfort noise: what a line sounds like while nobody speaks, at a given level (RFC 3389)."""

import numpy as np

_GENERATOR = np.random.default_rng()


def comfort_noise(level: float, samples: int) -> bytes:
    """White noise as PCM16; `level` is its root mean square in units of a sample."""
    noise = _GENERATOR.standard_normal(samples, dtype=np.float32) * level
    return bytes(np.clip(noise, -32_768, 32_767).astype("<i2").tobytes())
