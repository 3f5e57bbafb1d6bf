"""Wall clock that follows the event loop's time, so that virtual time also moves deadlines."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

# Seconds since the epoch.
Clock = Callable[[], float]

# A smaller step is NTP adjusting the clock.
_JUMP_SECS = 1.0


def _ahead() -> float:
    """Seconds between wall clock and monotonic clock; it grows while the machine sleeps."""
    return time.time() - time.monotonic()


def loop_clock(ahead: Callable[[], float] = _ahead) -> Clock:
    """A clock for the running loop: starts at the wall clock, then advances with the loop's time.

    After the machine slept, or its clock was set forward, it catches up with the wall clock. It
    never goes back.

    Raises: RuntimeError outside of a running loop.
    """
    loop = asyncio.get_running_loop()
    began = datetime.now(UTC).timestamp() - loop.time()
    was_ahead = ahead()

    def now() -> float:
        nonlocal began, was_ahead
        jumped = ahead() - was_ahead
        if jumped >= _JUMP_SECS:
            began += jumped
            was_ahead += jumped
        return began + loop.time()

    return now


def utc_datetime(at: float) -> datetime:
    """Seconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(at, UTC)
