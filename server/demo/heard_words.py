"""Which words of what the model said were heard whole at the phone: by their own sound.

    said     | Breakfast | is | from | half | past | …      the emulated model's reply
    heard      Breakfast   is   from   ha╳                   whole: three words

The sound of each reply is known. Its beginning is looked for in what the phone heard, and then each
word, where it has to be; behind a gap, the rest is looked for anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.speech import SpokenWord, speak, spoken_words
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.sound import at_line_rate

# A correlation below this is another sound.
ALIKE = 0.7
# A part of a word this short (20 ms) that is not silent when said, and is when heard, is missing.
FRAME = RATE // 50
LOUD, MUTED = 1 / 20, 1 / 4
PIECE_SECS = 0.4
# A reply is heard so long after the model began to send it, at most; its rest goes on as late.
REACH_SECS = 4.0
# Sound moves so little on its way, without a gap.
SWAY = RATE // 50
# Before the model's clock says so, nothing is heard.
EARLY_SECS = 0.2

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KnownReply:
    """What the model said, beginning `at_secs` after the answer, as far as `secs` of it."""

    text: str
    voice: str
    at_secs: float
    secs: float = float("inf")

    @property
    def words(self) -> list[SpokenWord]:
        """Those that were said to their end."""
        return [
            word
            for word in spoken_words(self.text, voice=self.voice)
            if word.end_secs <= self.secs + EARLY_SECS
        ]

    @property
    def sound(self) -> Sound:
        """As a phone hears it."""
        pcm = speak(self.text, voice=self.voice, rate=SPEAKS_AT)
        return at_line_rate(pcm, SPEAKS_AT).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a word was heard, in samples; `likeness` to its own sound."""

    reply: int
    word: int
    start: int
    end: int
    likeness: float


def heard_whole(replies: Sequence[KnownReply], phone: NDArray[np.int16]) -> list[set[int]]:
    """For each reply, the numbers of its words that were heard whole; `phone` begins at the answer.

    What is heard at one time was said once: of two words that it may be, it is the more alike one.
    """
    line = phone.astype(np.float32)
    places = [
        place for number, reply in enumerate(replies) for place in _places(number, reply, line)
    ]
    heard: list[set[int]] = [set() for _ in replies]
    taken = np.zeros(line.size, dtype=bool)
    for place in sorted(places, key=lambda place: -place.likeness):
        span = taken[place.start : place.end]
        if span.mean() <= 0.5:
            span[:] = True
            heard[place.reply].add(place.word)
    return heard


def _places(number: int, reply: KnownReply, line: Sound) -> Iterator[_Place]:
    sound = reply.sound
    expected = max(0, round((reply.at_secs - EARLY_SECS) * RATE))
    # Where the beginning of the reply is, or would be; None: not known yet.
    origin: int | None = None
    for index, word in enumerate(reply.words):
        start, end = round(word.start_secs * RATE), round(word.end_secs * RATE)
        place = None if origin is None else _near(sound[start:end], line, origin + start)
        if place is None:
            piece = sound[start : start + max(end - start, round(PIECE_SECS * RATE))]
            earliest = expected + start if origin is None else origin + start
            origin = _moved(piece, line, earliest, start, origin)
            place = None if origin is None else _near(sound[start:end], line, origin + start)
        if place is not None:
            yield _Place(number, index, place[0], place[0] + end - start, place[1])


def _moved(piece: Sound, line: Sound, earliest: int, start: int, origin: int | None) -> int | None:
    """The origin by which a piece is where it is heard; as it was when that is nowhere."""
    window = line[earliest : earliest + round(REACH_SECS * RATE) + piece.size]
    found = _best(piece, window)
    if found is None or found[1] < ALIKE:
        return origin
    return earliest + found[0] - start


def _near(word: Sound, line: Sound, at: int) -> tuple[int, float] | None:
    """Where a word is heard whole, a little before or behind `at`, and how alike it is."""
    first = max(0, at - SWAY)
    found = _best(word, line[first : at + SWAY + word.size])
    if found is None or found[1] < ALIKE:
        return None
    place = first + found[0]
    return (place, found[1]) if _is_whole(word, line[place : place + word.size]) else None


def _is_whole(said: Sound, heard: Sound) -> bool:
    frames = said.size // FRAME
    before, after = (
        np.abs(sound[: frames * FRAME]).reshape(frames, FRAME).max(axis=1)
        for sound in (said, heard)
    )
    return not bool(((before > before.max() * LOUD) & (after < before * MUTED)).any())


def _best(piece: Sound, line: Sound) -> tuple[int, float] | None:
    """Where in `line` the piece is, and their correlation; None: there is no sound in either."""
    if not piece.size or line.size < piece.size or not piece.any():
        return None
    size = 1 << (line.size + piece.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(line, size) * np.conj(np.fft.rfft(piece, size)), size)
    energy = np.concatenate(([0.0], np.cumsum(line.astype(np.float64) ** 2)))
    window = np.sqrt(np.maximum(energy[piece.size :] - energy[: -piece.size], 1.0))
    likeness = product[: line.size - piece.size + 1] / (window * float(np.linalg.norm(piece)))
    at = int(np.argmax(likeness))
    return at, float(likeness[at])
