"""One clock for everybody who speaks: each has a beat every 20 ms, and all are spread over it.

ms   0   1   2   3  …  19  20
     A   C       B          A       A, B, C: each every 20 ms
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Self

from pipelines.rates import PACKET_MS

# A p99 of lateness beyond this is no longer small against what is measured.
LATE_MS = 5.0
# The first chunk of a reply lasts twice as long as it takes until the next one is sent.
STALL_MS = 5.0
_TICK_SECS = 0.001
# An event loop may wake so much before the time: its timers count whole milliseconds.
_EARLY_SECS = 0.0006

Beat = Callable[[], None]


class Pacer:
    """Calls every beat in time, late ones all at once, as long as the block lasts.

    `late_ms` keeps how late each tick was, `stalls` when one came that was very late, and by how
    many ms.
    """

    def __init__(self) -> None:
        self._slots: list[list[Beat]] = [[] for _ in range(PACKET_MS)]
        self._timer: asyncio.TimerHandle | None = None
        self._start = 0.0
        self._tick = 0
        self.late_ms: list[float] = []
        self.stalls: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._start = monotonic()
        self._wait()
        return self

    def __exit__(self, *_problem: object) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def forget(self) -> None:
        """Keep lateness anew."""
        self.late_ms, self.stalls = [], []

    def add(self, beat: Beat, slot: int) -> None:
        """Call this every 20 ms from now on, at a millisecond of its own."""
        self._slots[slot % PACKET_MS].append(beat)

    def remove(self, beat: Beat) -> None:
        """Call this no more."""
        for slot in self._slots:
            if beat in slot:
                slot.remove(beat)

    def _wait(self) -> None:
        due = self._start + self._tick * _TICK_SECS
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - monotonic()), self._beat)

    def _beat(self) -> None:
        now = monotonic()
        due = self._start + self._tick * _TICK_SECS
        late_ms = max(0.0, (now - due) * 1000)
        self.late_ms.append(late_ms)
        if late_ms > STALL_MS:
            self.stalls.append((now, late_ms))
        while due <= now + _EARLY_SECS:
            for beat in tuple(self._slots[self._tick % PACKET_MS]):
                beat()
            self._tick += 1
            due += _TICK_SECS
        for _ in range(PACKET_MS):
            if self._slots[self._tick % PACKET_MS]:
                break
            self._tick += 1
        self._wait()
