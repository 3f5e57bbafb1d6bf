"""Which of the expected sentences was said: pocketsphinx with a grammar of exactly these sentences.

Free dictation is useless on a phone line; telling known sentences apart is reliable after 8 kHz
mu-law. One second of speech costs about 40 ms of a core; `listen` hands the loop back in between.
"""

import asyncio
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from hashlib import sha1
from itertools import count, repeat
from math import ceil

import numpy as np
import soxr
from pocketsphinx import Decoder

from server.emulators.phones import pronounce
from server.emulators.speech import voice_for

HEARS_AT = 16_000  # Hz: what the acoustic model was trained on
PIECE_BYTES = 60 * HEARS_AT * 2 // 1000
PEAK = 20_000
# A digitally silent background, or an empty band above 4 kHz, is like nothing the model was
# trained on: both get a little noise.
FLOOR = 120
MARGIN_SECS = 0.3
QUIETEST_PEAK = 100
KEPT_GRAMMARS = 64
KEPT_SOUNDS = 256

# What is none of the sentences is a row of phones: possible, but dear, once and for each phone.
# With these prices, of 270 expected sentences all were heard, of 108 others one was taken for it.
FOREIGN = "1e-30"
FOREIGN_PHONE = "1e-7"
# The model knows English: every other language is a row of strange phones to it.
FOREIGN_PHONE_WHERE_ALL_IS_STRANGE = "1e-25"
_PHONES = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"),
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH"),
    *("T", "TH", "V", "W", "Y", "Z", "ZH"),
)
_FOREIGN_WORDS = {f"foreign_{phone.lower()}": phone for phone in _PHONES}

_WORD = re.compile(r"[^\W_]+(?:['’.\-][^\W_]+)*", re.UNICODE)
# In a sentence, `[name]` stands for any sound or none: what was hidden in a recording.
_WORD_OR_BLANK = re.compile(rf"\[[a-z]+\]|{_WORD.pattern}", re.UNICODE)
BLANK = "<blank>"


class Ears:
    """Hears which of some sentences was said.

    `language` is BCP-47. English words come from CMU's dictionary; every other word, number and
    language is pronounced by espeak-ng.

    Raises: ValueError for a sentence without words, UnknownVoice, Unpronounceable.
    """

    def __init__(self, sentences: Sequence[str], *, language: str = "en-US") -> None:
        voice = voice_for(language)
        english = language.lower().startswith("en")
        self._foreign_phone = FOREIGN_PHONE if english else FOREIGN_PHONE_WHERE_ALL_IS_STRANGE
        self._sentences: dict[str, str] = {}
        self._pronunciations: dict[str, str] = {}
        for sentence in sentences:
            words = _WORD_OR_BLANK.findall(sentence.lower().replace("’", "'"))
            if not any(_WORD.fullmatch(word) for word in words):
                raise ValueError(f"there is no word in {sentence!r}")
            tokens = []
            for word in words:
                if word.startswith("["):
                    tokens.append(BLANK)
                    continue
                if english and _recognizers().knows(word):
                    tokens.append(word)
                    continue
                phones = pronounce(word, voice=voice)
                token = "x" + sha1(f"{word} {phones}".encode(), usedforsecurity=False).hexdigest()
                self._pronunciations[token] = phones
                tokens.append(token)
            self._sentences.setdefault(" ".join(tokens), sentence)
        self._by_words = {
            " ".join(word for word in tokens.split() if word != BLANK): sentence
            for tokens, sentence in reversed(self._sentences.items())
        }

    @property
    def grammar(self) -> str:
        """The JSGF grammar: one alternative per sentence, and one for everything else."""
        return (
            "#JSGF V1.0;\ngrammar heard;\n"
            f"public <heard> = /1/ <sentence> | /{FOREIGN}/ <foreign>;\n"
            f"<sentence> = {' | '.join(self._sentences)};\n"
            f"{BLANK} = <NULL> | <phone> {BLANK};\n"
            f"<foreign> = /1/ <phone> | /{self._foreign_phone}/ <phone> <foreign>;\n"
            f"<phone> = {' | '.join(_FOREIGN_WORDS)};\n"
        )

    @property
    def pronunciations(self) -> dict[str, str]:
        """CMU phones of the grammar's tokens that no dictionary has."""
        return self._pronunciations

    def hear(self, pcm: bytes, rate: int) -> str | None:
        """The sentence, spelled as it was given; None for silence, noise and anything else.

        `pcm` is PCM16 mono at `rate` Hz, one utterance.
        """
        heard = None
        for heard in self._decode(pcm, rate):  # noqa: B007 - the last one is the answer
            pass
        return heard

    async def listen(self, pcm: bytes, rate: int) -> str | None:
        """`hear`, a few milliseconds at a time."""
        heard = None
        for heard in self._decode(pcm, rate):  # noqa: B007
            await asyncio.sleep(0)
        return heard

    def _decode(self, pcm: bytes, rate: int) -> Iterator[str | None]:
        prepared = _prepared(pcm, rate)
        if prepared is None or not self._sentences:
            return
        recognizer = _recognizers().borrow()
        try:
            for words in recognizer.decode(prepared, self):
                spoken = [word for word in (words or "").split() if word not in _FOREIGN_WORDS]
                yield self._by_words.get(" ".join(spoken))
        finally:
            _recognizers().give_back(recognizer)


def _prepared(pcm: bytes, rate: int) -> bytes | None:
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < QUIETEST_PEAK:
        return None
    if rate != HEARS_AT:
        samples = soxr.resample(samples, rate, HEARS_AT)
    padded = np.pad(samples * (PEAK / peak), int(MARGIN_SECS * HEARS_AT))
    padded += np.random.default_rng(0).normal(0.0, FLOOR, len(padded))
    return padded.clip(-32_768, 32_767).astype("<i2").tobytes()


class _Recognizer:
    """One decoder and the grammars it has learnt. Not shared while it decodes."""

    def __init__(self) -> None:
        # Beams wide enough that a sentence is not lost to its first hard word.
        self._decoder = Decoder(
            lm=None, loglevel="FATAL", bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80
        )
        # Only for the channel's mean: the cheapest search there is.
        self._channel = Decoder(
            lm=None, loglevel="FATAL", beam=1e-2, wbeam=1e-2, pbeam=1e-2, maxhmmpf=1, ds=4
        )
        self._channel.add_jsgf_string("any", "#JSGF V1.0;\ngrammar any;\npublic <any> = no ;\n")
        self._channel.activate_search("any")
        self._grammars: dict[str, str] = {}
        self._numbers = count()
        self._learnt: set[str] = set()
        # The words of a sound with a grammar.
        self._known: dict[tuple[bytes, str], str | None] = {}
        self._learn(_FOREIGN_WORDS)

    def knows(self, word: str) -> bool:
        return word.isascii() and self._decoder.lookup_word(word) is not None

    def decode(self, pcm: bytes, ears: Ears) -> Iterator[str | None]:
        """None for each piece, then the words. What was heard before is not searched again."""
        sound = sha1(pcm, usedforsecurity=False).digest(), ears.grammar
        if sound in self._known:
            # As many pieces as the first time: who listens has as many turns of the loop.
            yield from repeat(None, 1 + ceil(len(pcm) / PIECE_BYTES))
        else:
            self._known[sound] = yield from self._search(pcm, ears)
        yield self._known[sound]
        if len(self._known) > KEPT_SOUNDS:
            del self._known[next(iter(self._known))]

    def _search(self, pcm: bytes, ears: Ears) -> Generator[None, None, str | None]:
        self._use(ears)
        decoder = self._decoder
        self._channel.start_utt()
        self._channel.process_raw(pcm, no_search=False, full_utt=True)
        self._channel.end_utt()
        decoder.set_cmn(self._channel.get_cmn(False))
        yield None
        decoder.start_utt()
        try:
            for start in range(0, len(pcm), PIECE_BYTES):
                piece = pcm[start : start + PIECE_BYTES]
                decoder.process_raw(piece, no_search=False, full_utt=False)
                yield None
        finally:
            decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else None

    def _use(self, ears: Ears) -> None:
        grammar = ears.grammar
        name = self._grammars.pop(grammar, None)
        if name is None:
            name = f"grammar{next(self._numbers)}"
            self._learn(ears.pronunciations)
            self._decoder.add_jsgf_string(name, grammar)
        self._grammars[grammar] = name
        self._decoder.activate_search(name)
        if len(self._grammars) > KEPT_GRAMMARS:
            self._decoder.remove_search(self._grammars.pop(next(iter(self._grammars))))

    def _learn(self, pronunciations: dict[str, str]) -> None:
        for token, phones in pronunciations.items():
            if token not in self._learnt:
                self._decoder.add_word(token, phones, False)
                self._learnt.add(token)


class _Recognizers:
    """Decoders of this process, 50 MB each: as many as ever decode at the same time."""

    def __init__(self) -> None:
        self._free: list[_Recognizer] = []

    def borrow(self) -> _Recognizer:
        return self._free.pop() if self._free else _Recognizer()

    def give_back(self, recognizer: _Recognizer) -> None:
        self._free.append(recognizer)

    def knows(self, word: str) -> bool:
        recognizer = self.borrow()
        try:
            return recognizer.knows(word)
        finally:
            self.give_back(recognizer)


_recognizers: Callable[[], _Recognizers] = lru_cache(maxsize=1)(_Recognizers)
