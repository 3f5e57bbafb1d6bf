"""LimitWatch: tells when a call has lasted as long as it may."""

import asyncio
from collections.abc import Callable


class LimitWatch:
    """Waits from the answer on. Moments are seconds of the loop's clock."""

    def __init__(self, max_duration_secs: float, on_time_up: Callable[[], None]) -> None:
        self._max_duration_secs = max_duration_secs
        self._on_time_up = on_time_up
        self._timer: asyncio.TimerHandle | None = None
        self.is_up = False

    def start(self, answered_at: float) -> None:
        """Call `on_time_up` once, `max_duration_secs` after the answer."""
        up_at = answered_at + self._max_duration_secs
        self._timer = asyncio.get_running_loop().call_at(up_at, self._time_is_up)

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        self.is_up = True
        self._on_time_up()
