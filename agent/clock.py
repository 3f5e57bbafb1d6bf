"""The wall clock as the event loop tells it: when the loop's time jumps, so do the deadlines."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

# Seconds since the epoch.
Clock = Callable[[], float]


def loop_clock() -> Clock:
    """A clock for the running loop: the wall clock's moment now, moving on with the loop's time.

    Raises: RuntimeError outside of a running loop.
    """
    loop = asyncio.get_running_loop()
    began = datetime.now(UTC).timestamp() - loop.time()
    return lambda: began + loop.time()


def moment(at: float) -> datetime:
    """Seconds since the epoch as an aware moment in UTC."""
    return datetime.fromtimestamp(at, UTC)
