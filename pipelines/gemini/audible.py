"""Tells speech that a phone makes audible from near-silence.

Gemini was seen to send replies at -66 dBFS, which a telephone turns into nothing.
"""

from processors.noise_floor import sound_level

# Root mean square of PCM16: -50 dBFS. A whisper is at -45.
AUDIBLE_LEVEL = 104.0


def is_audible(pcm: bytes) -> bool:
    """Whether PCM16 is loud enough to be heard over a telephone."""
    return sound_level(pcm[: len(pcm) // 2 * 2]) >= AUDIBLE_LEVEL
