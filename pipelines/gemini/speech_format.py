"""Rates of the model's speech: reads a MIME type, and converts other rates to 24 kHz.

The Live API speaks 24 kHz, and says so in each piece: `audio/pcm;rate=24000`. The rest of a call
relies on that rate, so speech at another one is converted where it comes in.

Source: https://ai.google.dev/gemini-api/docs/live, RFC 2586 for `audio/L16`.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from pipelines.rates import GEMINI_SPEAKS_AT

_PCM_TYPES = ("audio/pcm", "audio/l16")
_LOWEST_RATE, _HIGHEST_RATE = 4_000, 192_000  # Hz


@lru_cache(maxsize=64)
def pcm_rate(mime_type: str | None) -> int | None:
    """The rate in Hz of PCM16 mono speech, 24000 when none is named; None: it cannot be played."""
    kind, *parameters = (mime_type or _PCM_TYPES[0]).lower().split(";")
    if kind.strip() not in _PCM_TYPES:
        return None
    given = {
        name.strip(): value.strip().strip('"')
        for name, _, value in (parameter.partition("=") for parameter in parameters)
    }
    if given.get("channels", "1") != "1" or given.get("codec", "pcm") != "pcm":
        return None
    rate = given.get("rate", str(GEMINI_SPEAKS_AT))
    if not (rate.isascii() and rate.isdigit() and len(rate) <= 6):
        return None
    return int(rate) if _LOWEST_RATE <= int(rate) <= _HIGHEST_RATE else None


class SpeechResampler:
    """Converts one reply's speech, PCM16 mono, to 24 kHz.

    soxr holds back some 50 ms, which `flush` returns: call it where the speech ends.
    """

    def __init__(self) -> None:
        self._rate = GEMINI_SPEAKS_AT
        self._stream: Any = None

    def convert(self, pcm: bytes, rate: int) -> bytes:
        """PCM16 at `rate` Hz in, PCM16 at 24 kHz out; half a sample at the end is left out."""
        before = b"" if rate == self._rate else self.flush()
        if rate == GEMINI_SPEAKS_AT:
            return before + pcm if before else pcm
        if self._stream is None:
            import soxr  # hardly any call needs it

            self._stream = soxr.ResampleStream(rate, GEMINI_SPEAKS_AT, 1, dtype="int16")
            self._rate = rate
        samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2)
        return before + bytes(self._stream.resample_chunk(samples).tobytes())

    def flush(self) -> bytes:
        """What is held back of the speech so far."""
        stream = self._stream
        self.reset()
        if stream is None:
            return b""
        return bytes(stream.resample_chunk(np.empty(0, dtype=np.int16), last=True).tobytes())

    def reset(self) -> None:
        """Drop what is held back: the speech was interrupted."""
        self._rate, self._stream = GEMINI_SPEAKS_AT, None
