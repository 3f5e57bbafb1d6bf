"""espeak-ng by ctypes: text to samples, and text to phonemes.

The library keeps one voice per process, so every use of it holds one lock. What it speaks depends
on what it spoke before (the phase of its waves is never reset), and on random numbers that are
seeded by the clock: it is loaded anew for each text, with one seed, so that a text has the same
samples in every process.
"""

import _ctypes
import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache

import espeakng_loader

SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
UTF8 = 1
IPA = 0x02
RATE_PARAMETER, PITCH_PARAMETER = 1, 3
_CHUNK_MS = 200
_SEED = 1
_NO_MORE_EVENTS, _WORD_EVENT = 0, 1


class _Event(ctypes.Structure):
    """`espeak_EVENT`: `text_position` counts characters from 1, `sample` from the beginning."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class UnknownVoice(ValueError):
    """espeak-ng has no voice of this name."""


class Espeak:
    """The library, opened once. `sample_rate` is in Hz (22 050 in today's builds).

    Source: espeak-ng's `speak_lib.h`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples = bytearray()
        self._word_starts: list[tuple[int, int]] = []
        # ctypes does not keep a callback alive that only the library holds.
        self._callback = _SynthCallback(self._take)
        self._load()

    def _load(self) -> None:
        path = espeakng_loader.get_library_path()
        self._handle = _ctypes.dlopen(path, 0)
        self._library = ctypes.CDLL(path, handle=self._handle)
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data = espeakng_loader.get_data_path().encode()
        rate = self._library.espeak_Initialize(SYNCHRONOUS, _CHUNK_MS, data, DO_NOT_EXIT)
        if rate <= 0:
            raise RuntimeError("espeak-ng did not open its data")
        self.sample_rate: int = rate
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        self._library.espeak_SetSynthCallback(self._callback)

    def _load_anew(self) -> None:
        """Forget what was spoken: only a library that is unloaded loses its state (3 ms)."""
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._handle)
        self._load()

    def _take(
        self,
        samples: "ctypes._Pointer[ctypes.c_short]",
        count: int,
        events: "ctypes._Pointer[_Event]",
    ) -> int:
        if samples and count > 0:
            self._samples += ctypes.string_at(samples, count * 2)
        number = 0
        while events and events[number].type != _NO_MORE_EVENTS:
            if events[number].type == _WORD_EVENT:
                place = events[number].text_position - 1, events[number].sample
                self._word_starts.append(place)
            number += 1
        return 0

    def synthesize(self, text: str, *, voice: str, words_per_minute: int, pitch: int) -> bytes:
        """PCM16 mono at `sample_rate`. `pitch` is 0..99.

        Raises: UnknownVoice.
        """
        pcm, _ = self.synthesize_words(
            text, voice=voice, words_per_minute=words_per_minute, pitch=pitch
        )
        return pcm

    def synthesize_words(
        self, text: str, *, voice: str, words_per_minute: int, pitch: int
    ) -> tuple[bytes, list[tuple[int, int]]]:
        """As `synthesize`, and where words begin: the character, and the sample.

        Words that are spoken as one have one beginning. Raises: UnknownVoice.
        """
        encoded = text.encode()
        with self._lock:
            self._load_anew()
            self._choose(voice)
            self._library.espeak_SetParameter(RATE_PARAMETER, words_per_minute, 0)
            self._library.espeak_SetParameter(PITCH_PARAMETER, pitch, 0)
            self._samples.clear()
            self._word_starts.clear()
            self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
            self._library.espeak_Synchronize()
            return bytes(self._samples), list(self._word_starts)

    def phonemes(self, text: str, *, voice: str) -> list[str]:
        """The IPA phonemes of a text, word borders and stress marks included as they come.

        Raises: UnknownVoice.
        """
        buffer = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(buffer))
        clauses: list[str] = []
        with self._lock:
            self._choose(voice)
            while rest.value:
                clause = self._library.espeak_TextToPhonemes(
                    ctypes.byref(rest), UTF8, IPA | (ord("_") << 8)
                )
                clauses.append((clause or b"").decode())
        return [part for clause in clauses for part in clause.replace(" ", "_").split("_") if part]

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UnknownVoice(f"espeak-ng has no voice named {voice!r}")


espeak: Callable[[], Espeak] = lru_cache(maxsize=1)(Espeak)
"""The one library of this process, opened at its first use."""
