"""soxr's stream as a resampler of a line: what ours is compared with."""

import numpy as np
import soxr

QUALITIES = ("VHQ", "HQ", "QQ")


class SoxrStream:
    """PCM16 mono from one rate (Hz) to another with a setting of soxr's, one of `QUALITIES`."""

    def __init__(self, from_rate: int, to_rate: int, quality: str) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality=quality)

    def convert(self, pcm: bytes, *, last: bool = False) -> bytes:
        """What soxr gives by now; it gives its output in blocks."""
        samples = np.frombuffer(pcm, dtype="<i2")
        out: bytes = self._stream.resample_chunk(samples, last=last).astype("<i2").tobytes()
        return out

    def flush(self) -> bytes:
        """All that it holds."""
        return self.convert(b"", last=True)
