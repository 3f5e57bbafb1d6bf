"""Speech from text: what a caller and a model sound like when nobody real is there.

espeak-ng speaks; this module brings it to a rate, a level and clean edges.
"""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a text, and when it is heard in `speak`'s sound of it, in seconds."""

    text: str
    start_secs: float
    end_secs: float


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

    Empty for a text without a sound in it. The same arguments give the same bytes in every
    process.

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


@lru_cache(maxsize=512)
def spoken_words(
    text: str, *, voice: str = "en-us", words_per_minute: int = 165, pitch: int = 50
) -> tuple[SpokenWord, ...]:
    """The words of a text in order, as white space parts them; a pause belongs to the word before.

    Raises: UnknownVoice.
    """
    library = espeak()
    raw, begins = library.synthesize_words(
        text, voice=voice, words_per_minute=words_per_minute, pitch=pitch
    )
    samples = np.frombuffer(raw, dtype="<i2").astype(np.float32)
    if not samples.any():
        return ()
    start, end = _kept(samples / np.abs(samples).max() * PEAK, library.sample_rate)
    characters = [character for character, _ in begins]
    places = [min(max(sample, start), end) for _, sample in begins]
    found = list(re.finditer(r"\S+", text))
    # Where espeak-ng speaks several as one, each has its share by length.
    edges = [*(match.start() for match in found), len(text)]
    at = np.interp(edges, [*characters, len(text)], [*places, end])
    secs = ((at - start) / library.sample_rate).tolist()
    return tuple(
        SpokenWord(match.group(), secs[number], secs[number + 1])
        for number, match in enumerate(found)
    )


def _kept(samples: np.ndarray, rate: int) -> tuple[int, int]:
    """From where to where there is sound, with a little silence around it."""
    audible = np.flatnonzero(np.abs(samples) > PEAK * AUDIBLE)
    kept = int(KEPT_SILENCE_SECS * rate)
    return max(0, int(audible[0]) - kept), min(len(samples), int(audible[-1]) + kept)


def _trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    start, end = _kept(samples, rate)
    trimmed: np.ndarray = samples[start:end].copy()
    fade = min(int(FADE_SECS * rate), len(trimmed) // 2)
    ramp = np.linspace(0.0, 1.0, fade, dtype=trimmed.dtype)
    trimmed[:fade] *= ramp
    trimmed[len(trimmed) - fade :] *= ramp[::-1]
    return trimmed
