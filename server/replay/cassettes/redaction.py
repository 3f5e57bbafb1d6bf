"""Redaction: names and numbers in what was said, replaced in text and covered by a tone in audio.

A word is a name when it is in the call's metadata, or begins with a capital within a sentence. That
hides too much rather than too little, and cannot be sure: read the result before it is shared.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from server.emulators.ears import HEARS_AT
from server.emulators.phones import pronounce
from server.emulators.speech import voice_for

NAME, NUMBER = "[name]", "[number]"
TONE_HZ = 440.0
TONE_LEVEL = 0.2
# Words are found to within this time.
MARGIN_SECS = 0.08
RATE = 8_000

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBERS = frozenset(
    (
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
        *("eighteen", "nineteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy"),
        *("eighty", "ninety", "hundred", "thousand", "million", "double", "triple"),
    )
)
_NO_NAMES = frozenset(
    (
        *("i", "i'm", "i'll", "i've", "i'd", "ok", "mr", "mrs", "ms", "dr", "at"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("january", "february", "march", "april", "may", "june", "july", "august"),
        *("september", "october", "november", "december"),
    )
)


class Redaction:
    """Knows the names of one call; `words` are hidden, too."""

    def __init__(self, metadata: Mapping[str, Any], words: Iterable[str] = ()) -> None:
        known = [value for value in metadata.values() if isinstance(value, str)]
        spoken = (word.casefold() for text in (*known, *words) for word in _WORD.findall(text))
        self._names = {word for word in spoken if len(word) > 1} - _NO_NAMES - _NUMBERS

    def text(self, text: str) -> str:
        """The text with placeholders for names and numbers."""
        hidden = dict(self._hidden(text))
        parts, at = [], 0
        for match in _WORD.finditer(text):
            if match.start() in hidden:
                parts += [text[at : match.start()], hidden[match.start()]]
                at = match.end()
        redacted = "".join([*parts, text[at:]])
        return re.sub(r"(\[\w+\])(?:[\s,.\-]+\1)+", r"\1", redacted)

    def value(self, value: Any) -> Any:
        """A value of plain JSON, with all texts in it redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value

    def audio(self, pcm: bytes, text: str, language: str) -> bytes:
        """PCM16 at 8 kHz of `text` being said, with a tone over what `text` hides."""
        words = list(_WORD.finditer(text))
        hidden = dict(self._hidden(text))
        covered = [number for number, word in enumerate(words) if word.start() in hidden]
        if not covered:
            return pcm
        spans = word_spans(pcm, [word.group() for word in words], language)
        samples = np.frombuffer(pcm, dtype="<i2").copy()
        for number in covered:
            start, end = spans[number]
            first = max(0, round((start - MARGIN_SECS) * RATE))
            last = min(len(samples), round((end + MARGIN_SECS) * RATE))
            times = np.arange(first, last) / RATE
            tone = np.sin(2 * np.pi * TONE_HZ * times) * TONE_LEVEL * 32_767
            samples[first:last] = tone.astype("<i2")
        return samples.tobytes()

    def _hidden(self, text: str) -> Iterable[tuple[int, str]]:
        """Where hidden words begin, and what stands for them."""
        for match in _WORD.finditer(text):
            word = match.group().casefold()
            starts_sentence = not text[: match.start()].rstrip(" \"'“”(¿¡") or text[
                : match.start()
            ].rstrip(" \"'“”(¿¡").endswith((".", "!", "?", ":"))
            if any(char.isdigit() for char in word) or word in _NUMBERS:
                yield match.start(), NUMBER
            elif word in self._names or (
                match.group()[0].isupper() and not starts_sentence and word not in _NO_NAMES
            ):
                yield match.start(), NAME


def word_spans(pcm: bytes, words: list[str], language: str) -> list[tuple[float, float]]:
    """When each word is said in PCM16 at 8 kHz, in seconds: by alignment, else by its length."""
    return _aligned(pcm, words, language) or _by_length(pcm, words)


def _by_length(pcm: bytes, words: list[str]) -> list[tuple[float, float]]:
    """In proportion to letters, each half a word wider on both sides."""
    secs = len(pcm) / 2 / RATE
    total = sum(len(word) + 1 for word in words)
    spans, at = [], 0.0
    for word in words:
        share = secs * (len(word) + 1) / total
        spans.append((max(0.0, at - share / 2), min(secs, at + 1.5 * share)))
        at += share
    return spans


def _aligned(pcm: bytes, words: list[str], language: str) -> list[tuple[float, float]] | None:
    import soxr
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL")
    tokens: list[str] = []
    for word in words:
        token = word.casefold().replace("’", "'")
        if decoder.lookup_word(token) is None:
            token = f"w{len(tokens)}"
            try:
                decoder.add_word(token, pronounce(word, voice=voice_for(language)), True)
            except (ValueError, RuntimeError):
                return None
        tokens.append(token)
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    wide = soxr.resample(samples, RATE, HEARS_AT)
    wide += np.random.default_rng(0).normal(0.0, 60, len(wide))
    try:
        decoder.set_align_text(" ".join(tokens))
        decoder.start_utt()
        decoder.process_raw(wide.clip(-32768, 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        segments = [s for s in decoder.seg() or () if not s.word.startswith(("<", "["))]
    except (RuntimeError, TypeError):
        return None
    if len(segments) != len(words):
        return None
    return [(s.start_frame / 100, (s.end_frame + 1) / 100) for s in segments]
