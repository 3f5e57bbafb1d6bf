"""A resampler for a live line: whole-number ratios, 2 ms of delay, nothing held back.

A windowed-sinc low-pass, split into phases. Each call gives all samples that its input completes,
so a 20 ms packet in is 20 ms out, late only by the filter's own 2 ms; `flush` gives that tail.

    in   |--- packet 1 ---|--- packet 2 ---|
    out  ..|--- packet 1 ---|--- packet 2 --|+ flush
         2 ms
"""

import numpy as np
from numpy.typing import NDArray

# Zero crossings of the sinc either side, at the lower rate: 16 at 8 kHz are 2 ms, and make
# 96 taps at 24 kHz or 64 at 16 kHz.
_CROSSINGS = 16
# Kaiser's window, 70 dB down in the stop band at this length.
_BETA = 6.0
# Where the pass band ends, as a part of the lower rate's Nyquist frequency.
_EDGE = 0.98


class Polyphase:
    """Converts PCM16 mono from one rate to another, packet by packet. Rates in Hz.

    Raises: ValueError when neither rate is a whole multiple of the other.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate <= 0 or to_rate <= 0 or max(from_rate, to_rate) % min(from_rate, to_rate):
            raise ValueError(f"{from_rate} Hz and {to_rate} Hz are not multiples of each other")
        self._up = max(1, to_rate // from_rate)
        self._down = max(1, from_rate // to_rate)
        self._taps = _low_pass(max(self._up, self._down)) * self._up
        # Rows of reversed phases: a window of input times a row is one output sample.
        self._phases = np.stack([self._taps[p :: self._up][::-1] for p in range(self._up)])
        self._width = self._phases.shape[1]
        self.reset()

    def reset(self) -> None:
        """Forget what was heard so far; what follows is unrelated to it."""
        self._history = np.zeros(self._width - 1, dtype=np.float32)
        # Input samples to pass over before the next one that an output is made for.
        self._skip = 0

    def convert(self, pcm: bytes) -> bytes:
        """PCM16 in, PCM16 out; an odd trailing byte is not a sample and is left out."""
        samples = np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2).astype(np.float32)
        if not samples.size:
            return b""
        return self._convert(samples)

    def flush(self) -> bytes:
        """The 2 ms that the filter still holds; then as new."""
        tail = self._convert(np.zeros(self._width // 2, dtype=np.float32))
        self.reset()
        return tail

    def _convert(self, samples: NDArray[np.float32]) -> bytes:
        line = np.concatenate((self._history, samples))
        self._history = line[-(self._width - 1) :]
        starts = samples.size - self._skip
        if starts <= 0:
            self._skip = -starts
            return b""
        windows = np.lib.stride_tricks.as_strided(
            line[self._skip :],
            shape=(-(-starts // self._down), self._width),
            strides=(line.strides[0] * self._down, line.strides[0]),
            writeable=False,
        )
        self._skip = (-starts) % self._down
        out = (windows @ self._phases.T).reshape(-1)
        np.rint(out, out=out)
        np.clip(out, -32768, 32767, out=out)
        return out.astype("<i2").tobytes()


def _low_pass(ratio: int) -> NDArray[np.float32]:
    """A linear-phase low-pass at the lower of two rates, `ratio` apart; its gain is 1."""
    count = 2 * _CROSSINGS * ratio
    moments = np.arange(count) - (count - 1) / 2
    taps = np.sinc(moments * _EDGE / ratio) * np.kaiser(count, _BETA)
    scaled: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return scaled
