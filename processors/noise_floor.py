"""NoiseFloor: learns how loud a line is while nobody speaks, from the levels of its packets.

The floor is the quietest packet of the last 1.6 s: noise is steady, and a word has soft places. So
the floor falls at once, and rises only when no packet was quieter for as long as that. What is
learnt is the mean of the packets near the floor, because the quietest of many is below it.

    packets  ▂▃▂ █▅▇█▃▂▂▃▂▂ ▅▅▆▅▅▅▅▅▅▅▅
    floor    ▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▅▅▅▅
"""

import audioop
from collections import deque

PIECES = 8
PIECE_MS = 200.0
# Packets below the floor times this are noise, too: 4 dB.
NEAR_FLOOR = 1.6
# How much one packet of noise moves the mean.
LEARNS = 1 / 8
# A mean sample above this part of the level is an offset worth removing.
OFFSET_PART = 0.25


def sound_level(pcm: bytes) -> float:
    """Root mean square of PCM16, without a constant offset (DC), in units of a sample."""
    level = audioop.rms(pcm, 2)
    offset = audioop.avg(pcm, 2)
    if abs(offset) <= level * OFFSET_PART:
        return level
    return audioop.rms(audioop.bias(pcm, 2, -offset), 2)


class QuietestLevel:
    """The lowest of the levels of the last 1.6 s, in pieces of 200 ms."""

    def __init__(self) -> None:
        self._pieces: deque[float] = deque(maxlen=PIECES)
        self._piece_ms = 0.0
        self._lowest = 0.0

    def hear(self, level: float, packet_ms: float) -> float:
        """Take the level of one packet; returns the lowest."""
        self._piece_ms += packet_ms
        if self._piece_ms > PIECE_MS or not self._pieces:
            self._pieces.append(level)
            self._piece_ms = packet_ms
            self._lowest = min(self._pieces)
        elif level < self._pieces[-1]:
            self._pieces[-1] = level
            self._lowest = min(self._lowest, level)
        return self._lowest


class NoiseFloor:
    """`level` is the line's noise so far: root mean square, in units of a sample of PCM16.

    Before a quiet packet came it is too high, never too low. Digital silence counts as silence.
    """

    def __init__(self) -> None:
        self.level = 0.0
        self._quietest = QuietestLevel()

    def hear(self, level: float, packet_ms: float) -> None:
        """Take the level of one packet."""
        lowest = self._quietest.hear(level, packet_ms)
        highest = lowest * NEAR_FLOOR
        if not lowest <= self.level <= highest:
            self.level = lowest
        if level <= highest:
            self.level += (level - self.level) * LEARNS
