"""soxr's stream as a resampler of a line: what ours is compared with."""

from collections.abc import Callable

import numpy as np
import soxr

QUALITIES = ("VHQ", "HQ", "QQ")


class SoxrStream:
    """PCM16 mono from one rate (Hz) to another with a setting of soxr's."""

    def __init__(self, from_rate: int, to_rate: int, quality: str) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality=quality)

    def convert(self, pcm: bytes) -> bytes:
        """What soxr gives by now; it gives its output in blocks."""
        return self._resampled(np.frombuffer(pcm, dtype="<i2"), last=False)

    def flush(self) -> bytes:
        """All that it holds."""
        return self._resampled(np.zeros(0, dtype="<i2"), last=True)

    def _resampled(self, samples: "np.typing.NDArray[np.int16]", *, last: bool) -> bytes:
        out: bytes = self._stream.resample_chunk(samples, last=last).astype("<i2").tobytes()
        return out


def soxr_stream(quality: str) -> Callable[[int, int], SoxrStream]:
    """What makes such streams of one of `QUALITIES`."""
    return lambda from_rate, to_rate: SoxrStream(from_rate, to_rate, quality)
