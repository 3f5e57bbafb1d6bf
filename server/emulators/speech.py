"""Speech from text: what a caller and a model sound like when nobody real is there.

espeak-ng speaks; this module brings it to a rate, a level and clean edges.
"""

from functools import lru_cache

import numpy as np
import soxr

from server.emulators.espeak import espeak

PEAK = 0.708  # -3 dBFS
KEPT_SILENCE_SECS = 0.03
FADE_SECS = 0.005
AUDIBLE = 0.01  # of the peak

_VOICES = {
    "en": "en-us",
    "en-us": "en-us",
    "en-gb": "en",
    "en-au": "en",
    "en-in": "en",
    "pt-pt": "pt",
    "es-us": "es-419",
    "es-mx": "es-419",
    "zh": "cmn",
    "cmn-cn": "cmn",
    "zh-cn": "cmn",
    "pt-br": "pt-br",
    "no": "nb",
    "fr-be": "fr-be",
    "fr-ch": "fr-ch",
}


def voice_for(language: str, variant: str = "") -> str:
    """The espeak-ng voice of a BCP-47 language: "es-ES" is "es", "en-US" is "en-us".

    `variant` is one of espeak's ("f3", "m2"): a different person in the same language.
    """
    tag = language.lower().replace("_", "-")
    primary = tag.split("-")[0]
    voice = _VOICES.get(tag) or _VOICES.get(primary) or primary
    return f"{voice}+{variant}" if variant else voice


@lru_cache(maxsize=512)
def speak(
    text: str,
    *,
    voice: str = "en-us",
    words_per_minute: int = 165,
    pitch: int = 50,
    rate: int = 24_000,
) -> bytes:
    """PCM16 mono little endian at `rate` Hz, peak at -3 dBFS, at most 30 ms of silence around it.

    Empty for a text without a sound in it. The same arguments give the same bytes
    within a process; espeak-ng itself varies by some samples.

    Raises: UnknownVoice.
    """
    library = espeak()
    raw = library.synthesize(text, voice=voice, words_per_minute=words_per_minute, pitch=pitch)
    samples = np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32_768
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        return b""
    if rate != library.sample_rate:
        samples = soxr.resample(samples, library.sample_rate, rate, quality="HQ")
        peak = float(np.abs(samples).max())
    samples = _trimmed(samples * (PEAK / peak), rate)
    return (samples * 32_767).astype("<i2").tobytes()


def _trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    audible = np.flatnonzero(np.abs(samples) > PEAK * AUDIBLE)
    kept = int(KEPT_SILENCE_SECS * rate)
    start = max(0, int(audible[0]) - kept)
    end = min(len(samples), int(audible[-1]) + kept)
    trimmed: np.ndarray = samples[start:end].copy()
    fade = min(int(FADE_SECS * rate), len(trimmed) // 2)
    ramp = np.linspace(0.0, 1.0, fade, dtype=trimmed.dtype)
    trimmed[:fade] *= ramp
    trimmed[len(trimmed) - fade :] *= ramp[::-1]
    return trimmed
