"""How the event loop does, for whoever runs the server: its lag, and who blocked it for how long.

Every stall is counted by place. One that callers hear is also logged, not more often than all ten
seconds: a loop that is blocked again and again has no use for more work.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from server.code_places import Stack
from server.loop_pulse import TOLD_EVERY_SECS, LoopPulse
from server.loop_watchdog import BEAT_SECS, STALL_SECS, LoopWatchdog, Stall
from server.metrics import Metrics

# Longer than this is a hole in what callers hear, unless Twilio has a lead of sound.
LOGGED_FROM_SECS = 0.1
LOGGED_EVERY_SECS = 10.0
# A label of Prometheus' must not have more values than somebody can read.
MOST_PLACES = 50
OTHER_PLACES = "other"
_FRAMES_LOGGED = 8


@contextmanager
def loop_health(metrics: Metrics, *, watchdog: bool) -> Iterator[None]:
    """Measure the running loop's lag for as long as this lasts; with `watchdog`, its stalls too."""
    pulse = LoopPulse(
        metrics.lag.observe,
        every_secs=BEAT_SECS if watchdog else TOLD_EVERY_SECS,
        late_after_secs=STALL_SECS,
    )
    watching = LoopWatchdog(pulse, StallReport(metrics).take) if watchdog else None
    if watching is not None:
        watching.open()
    pulse.open()
    try:
        yield
    finally:
        if watching is not None:
            watching.close()
        pulse.close()


class StallReport:
    """Counts stalls by their places, and logs those that are long."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._places: set[str] = set()
        self._logged_at = float("-inf")
        self._unsaid = 0

    def take(self, stall: Stall) -> None:
        """Report one stall; any thread may."""
        self._metrics.stalls.labels(self._bounded(stall.place)).observe(stall.secs)
        if stall.secs < LOGGED_FROM_SECS:
            return
        now = time.monotonic()
        if now - self._logged_at < LOGGED_EVERY_SECS:
            self._unsaid += 1
            return
        logger.warning(
            "The event loop was blocked",
            place=stall.place,
            ms=round(stall.secs * 1000),
            computed_ms=round(stall.computed_secs * 1000),
            waited_ms=round(stall.waited_secs * 1000),
            stack=_line(stall.stack),
            unsaid=self._unsaid,
        )
        self._logged_at, self._unsaid = now, 0

    def _bounded(self, place: str) -> str:
        if place not in self._places:
            if len(self._places) >= MOST_PLACES:
                return OTHER_PLACES
            self._places.add(place)
        return place


def _line(stack: Stack) -> str:
    return " < ".join(str(place) for place in stack[:_FRAMES_LOGGED])
