"""Redaction: names and numbers in what was said, replaced in text and covered by a tone in audio.

A word is a name when it is in the call's metadata, or begins with a capital within a sentence. What
the pipeline's own greeting and prompt say in every call stays. That hides too much rather than too
little, and cannot be sure: read the result before it is shared.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from server.emulators.ears import HEARS_AT
from server.emulators.phones import pronounce
from server.emulators.speech import voice_for

NAME, NUMBER = "[name]", "[number]"
# A number of so many digits may be somebody's: a phone number, an account, a code.
LONG_NUMBER = 4
TONE_HZ = 440.0
TONE_LEVEL = 0.2
# Words are found to within this time.
MARGIN_SECS = 0.08
RATE = 8_000

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_DIGIT = re.compile(r"\d")
_NUMBERS = frozenset(
    (
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
        *("eighteen", "nineteen", "twenty", "thirty", "forty", "fifty", "sixty", "seventy"),
        *("eighty", "ninety", "hundred", "thousand", "million", "double", "triple"),
    )
)
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\$\w+")
_NO_NAMES = frozenset(
    (
        *("i", "i'm", "i'll", "i've", "i'd", "ok", "mr", "mrs", "ms", "dr", "at"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("january", "february", "march", "april", "may", "june", "july", "august"),
        *("september", "october", "november", "december"),
    )
)


class Redaction:
    """Knows the names of one call; `words` are hidden, too.

    `own` are texts that the pipeline has by itself: names in them stay, and so does each word
    between the same two words as there. What a placeholder of theirs is filled with is hidden.
    """

    def __init__(
        self, metadata: Mapping[str, Any], words: Iterable[str] = (), own: Iterable[str] = ()
    ) -> None:
        known = _texts(metadata)
        spoken = (word.casefold() for text in (*known, *words) for word in _WORD.findall(text))
        self._names = {word for word in spoken if len(word) > 1 and not _is_no_name(word)}
        self._names -= _NUMBERS
        self._own: dict[str, set[tuple[str, str]]] = {}
        for text in own:
            for part in _PLACEHOLDER.split(text):
                for before, word, after in _with_neighbours(part):
                    self._own.setdefault(word, set()).add((before, after))
        self._keys: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def text(self, text: str) -> str:
        """What the caller says, with one placeholder for names or numbers in a row."""
        return re.sub(r"(\[\w+\])(?:[\s,.\-]+\1)+", r"\1", self.agent_text(text))

    def agent_text(self, text: str) -> str:
        """The text with placeholders: one for each word, as where metadata fills a greeting."""
        hidden = dict(self._hidden(text))
        parts, at = [], 0
        for match in _WORD.finditer(text):
            if match.start() in hidden:
                parts += [text[at : match.start()], hidden[match.start()]]
                at = match.end()
        return "".join([*parts, text[at:]])

    def keys(self, digits: str) -> str:
        """Other keys in place of a number; a single key chooses from a menu, and stays."""
        if len(digits) < 2:
            return digits
        return self._keys.setdefault(digits, str(len(self._keys) % 10) * len(digits))

    def value(self, value: Any) -> Any:
        """A value of plain JSON, with all texts and long numbers in it redacted."""
        if isinstance(value, str):
            return self.agent_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(value)
        return _each(value, self.value)

    def metadata(self, value: Any) -> Any:
        """What a call was placed with: its greeting may say all of it, numbers are said as text."""
        if isinstance(value, str):
            return self.agent_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return NUMBER
        return _each(value, self.metadata)

    def _number(self, value: int | float) -> int | float:
        """Another one of as many digits; a short one counts something, and stays."""
        shown = repr(value).removesuffix(".0")
        if len(_DIGIT.findall(shown)) < LONG_NUMBER:
            return value
        digit = self._numbers.setdefault(shown.lstrip("-"), len(self._numbers) % 9 + 1)
        return type(value)(_DIGIT.sub(str(digit), shown))

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
        neighbours = list(_with_neighbours(text))
        for match, (before, word, after) in zip(_WORD.finditer(text), neighbours, strict=True):
            if self._is_own(before, word, after):
                continue
            earlier = text[: match.start()].rstrip(" \"'“”(¿¡[")
            starts_sentence = not earlier or earlier.endswith((".", "!", "?", ":"))
            if any(char.isdigit() for char in word) or word in _NUMBERS:
                yield match.start(), NUMBER
            elif word in self._names or (
                match.group()[0].isupper()
                and not (starts_sentence or _is_no_name(word) or word in self._own)
            ):
                yield match.start(), NAME

    def _is_own(self, before: str, word: str, after: str) -> bool:
        """Whether the pipeline's texts have it between the same words; "" there is their edge."""
        return any(
            (left or right) and left in ("", before) and right in ("", after)
            for left, right in self._own.get(word, ())
        )


def _each(value: Any, redacted: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of plain JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _with_neighbours(text: str) -> Iterable[tuple[str, str, str]]:
    """Each word with the one before and the one after it, "" at both ends."""
    words = [word.casefold() for word in _WORD.findall(text)]
    return zip(["", *words], words, [*words[1:], ""], strict=False)


def _is_no_name(word: str) -> bool:
    """`Fridays` and `Friday's` are no more of a name than `Friday` is."""
    return word in _NO_NAMES or re.sub(r"['’]?s$", "", word) in _NO_NAMES


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
