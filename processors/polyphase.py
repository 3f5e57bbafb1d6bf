"""Polyphase resampler for live audio: whole-number ratios, 2 ms of delay, no blocks.

A windowed-sinc low-pass, split into phases. Each call returns all samples that its input completes:
20 ms in are 20 ms out, delayed only by the filter's 2 ms. `flush` returns that tail.

    in   |--- packet 1 ---|--- packet 2 ---|
    out  ..|--- packet 1 ---|--- packet 2 --|+ flush
         2 ms

Sixteen steps of the filter are one row of a matrix product, so that rows overlap little and are
cheap to lay out:

    samples   a b c d e f g h …            row 1  a b c d e f    out  1 2 3
                                           row 2      c d e f …       4 5 6
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Zero crossings of the sinc either side, at the lower rate: 16 at 8 kHz are 2 ms, and make
# 96 taps at 24 kHz or 64 at 16 kHz.
_CROSSINGS = 16
# Kaiser's window, 70 dB down in the stop band at this length.
_BETA = 6.0
# Where the pass band ends, as a part of the lower rate's Nyquist frequency.
_EDGE = 0.98
# Steps of the filter in one row.
_STEPS = 16


_Samples = NDArray[np.float32]


class Polyphase:
    """Converts PCM16 mono from one rate to another, packet by packet. Rates in Hz.

    Raises: ValueError when neither rate is a whole multiple of the other.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate <= 0 or to_rate <= 0 or max(from_rate, to_rate) % min(from_rate, to_rate):
            raise ValueError(f"{from_rate} Hz and {to_rate} Hz are not multiples of each other")
        # A step advances by `down` input samples and returns `up` output samples.
        self._up = max(1, to_rate // from_rate)
        self._down = max(1, from_rate // to_rate)
        self._filter = _filter_steps(self._up, self._down)
        self._row_samples = self._filter.shape[0]
        # Previous samples in the first window.
        self._kept = self._row_samples - (_STEPS - 1) * self._down - 1
        self._line: _Samples = np.zeros(self._kept, dtype=np.float32)
        self._laid_out_for = (-1, 0)
        self.reset()

    def reset(self) -> None:
        """Drop the filter's state, for unrelated audio to follow."""
        self._line[: self._kept] = 0.0
        # Input samples to skip before the next one that makes an output.
        self._skip = 0

    def convert(self, pcm: bytes) -> bytes:
        """PCM16 in, PCM16 out; an odd trailing byte is not a sample and is left out."""
        return self._convert(np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2))

    def flush(self) -> bytes:
        """The 2 ms that the filter still holds; then reset."""
        tail = self._convert(np.zeros((self._kept + 1) // 2, dtype=np.int16))
        self.reset()
        return tail

    def _convert(self, samples: NDArray[np.int16]) -> bytes:
        count, kept = samples.size, self._kept
        if (count, self._skip) != self._laid_out_for:
            self._lay_out(count)
        line, out = self._line, self._out
        line[kept : kept + count] = samples
        np.dot(self._windows, self._filter, out=self._rows)
        line[:kept] = line[count : count + kept]
        self._skip = self._skip_after
        np.minimum(out, self._highest, out=out)
        np.maximum(out, self._lowest, out=out)
        np.rint(out, out=out)
        self._pcm[:] = out
        return self._pcm.tobytes()

    def _lay_out(self, count: int) -> None:
        """Allocate arrays for packets of `count` samples; the next ones are probably as long."""
        kept, skip = self._kept, self._skip
        steps = max(0, -(-(count - skip) // self._down))
        rows = -(-steps // _STEPS)
        stride = _STEPS * self._down
        length = max(kept + count, skip + (rows - 1) * stride + self._row_samples)
        line: _Samples = np.empty(length, dtype=np.float32)
        line[:kept] = self._line[:kept]
        line[kept + count :] = 0.0  # what the last row reads beyond the packet
        self._line = line
        self._windows: _Samples = np.ndarray(
            (rows, self._row_samples),
            dtype=np.float32,
            buffer=line,
            offset=skip * line.itemsize,
            strides=(stride * line.itemsize, line.itemsize),
        )
        self._rows: _Samples = np.empty((rows, self._filter.shape[1]), dtype=np.float32)
        self._out = self._rows.reshape(-1)[: steps * self._up]
        self._pcm = np.empty(self._out.size, dtype="<i2")
        # As long as the output: NumPy takes twice as long with a single number.
        self._lowest, self._highest = _limits(self._out.size)
        self._skip_after = skip + steps * self._down - count
        self._laid_out_for = (count, skip)


@lru_cache(maxsize=16)
def _limits(count: int) -> tuple[_Samples, _Samples]:
    """The lowest and highest value of PCM16, `count` times."""
    lowest, highest = (np.full(count, limit, dtype=np.float32) for limit in (-32768, 32767))
    for limits in (lowest, highest):
        limits.setflags(write=False)
    return lowest, highest


@lru_cache(maxsize=16)
def _filter_steps(up: int, down: int) -> _Samples:
    """The filter as a matrix: a row of samples times it is `_STEPS` steps of `up` outputs each."""
    taps = _low_pass(max(up, down)) * up
    # Columns of reversed phases: a window of input times one is one output sample.
    phases = np.stack([taps[phase::up][::-1] for phase in range(up)], axis=1)
    width = phases.shape[0]
    matrix: _Samples = np.zeros(((_STEPS - 1) * down + width, _STEPS * up), dtype=np.float32)
    for step in range(_STEPS):
        matrix[step * down : step * down + width, step * up : (step + 1) * up] = phases
    matrix.setflags(write=False)
    return matrix


def _low_pass(ratio: int) -> _Samples:
    """A linear-phase low-pass at the lower of two rates, `ratio` apart; its gain is 1."""
    count = 2 * _CROSSINGS * ratio
    moments = np.arange(count) - (count - 1) / 2
    taps = np.sinc(moments * _EDGE / ratio) * np.kaiser(count, _BETA)
    scaled: _Samples = (taps / taps.sum()).astype(np.float32)
    return scaled
