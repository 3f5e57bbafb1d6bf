"""Time limit of what is waited for while a caller hears nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def within(secs: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, also around a client that turns a cancellation into one of its own.

    Python 3.11 knows its own `CancelledError` only, and lets a subclass of it through, which ends
    the task. Redis' client has such ones, by way of `wait_for2`.

    Raises: TimeoutError.
    """
    task = asyncio.current_task()
    assert task is not None, "outside of a task"
    cancelled_before = task.cancelling()
    timeout = asyncio.timeout(secs)
    try:
        async with timeout:
            yield
    except asyncio.CancelledError:
        if not timeout.expired() or task.cancelling() > cancelled_before:
            raise
        raise TimeoutError from None
