"""The event loop's pulse: a timer that beats, and says how late each beat was.

due      |    |    |              |    |
beats    |    |    |..............|    |
                     late
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from server.code_places import depth_of

# How often the lateness of a beat is told, whatever the rate of beats is.
TOLD_EVERY_SECS = 0.25


@dataclass(frozen=True, slots=True)
class LateBeat:
    """The beat with this number came so late."""

    number: int
    late_secs: float


class LoopPulse:
    """Beats on the running loop from `open` to `close`.

    Every quarter of a second `tell` hears how late (seconds) the beat was. Real time is meant:
    where the loop's own clock jumps, a beat may come early, and is then not late.
    """

    def __init__(
        self,
        tell: Callable[[float], None],
        *,
        every_secs: float = TOLD_EVERY_SECS,
        late_after_secs: float = 0.01,
    ) -> None:
        self._tell = tell
        self._every_secs = every_secs
        self._late_after_secs = late_after_secs
        self._told_every = max(1, round(TOLD_EVERY_SECS / every_secs))
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.number = 0
        # When the next beat should come, by time.perf_counter().
        self.due = float("inf")
        # Those that came late, until somebody takes them out; read by other threads.
        self.late: deque[LateBeat] = deque(maxlen=100)
        # How many frames of the loop's own are below each of its callbacks; known with a beat.
        self.depth = 0

    def open(self) -> None:
        """Begin to beat on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._begin(time.perf_counter())

    def close(self) -> None:
        """Beat no more."""
        self.due = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, now: float) -> None:
        assert self._loop is not None
        self.due = now + self._every_secs
        self._timer = self._loop.call_later(self._every_secs, self._beat)

    def _beat(self) -> None:
        now = time.perf_counter()
        if not self.depth:
            self.depth = depth_of(sys._getframe(1))
        late_secs = now - self.due
        if late_secs >= self._late_after_secs:
            self.late.append(LateBeat(self.number, late_secs))
        self.number += 1
        if not self.number % self._told_every:
            self._tell(max(0.0, late_secs))
        self._begin(now)
