"""The wall clock as the event loop tells it: when the loop's time jumps, so do the deadlines."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

# Seconds since the epoch.
Clock = Callable[[], float]

# Less is the clock being trimmed.
_JUMP_SECS = 1.0


def _ahead() -> float:
    """How far the wall clock is ahead of the machine's running time, which stands in its sleep."""
    return time.time() - time.monotonic()


def loop_clock(ahead: Callable[[], float] = _ahead) -> Clock:
    """A clock for the running loop: the wall clock's moment now, moving on with the loop's time.

    When the machine slept, or its clock was set forward, it is the wall clock's moment again; it
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


def moment(at: float) -> datetime:
    """Seconds since the epoch as an aware moment in UTC."""
    return datetime.fromtimestamp(at, UTC)
