"""`within`: a time limit that holds whatever becomes of the cancellation."""

import asyncio

import pytest

from server.calls.bounded_waits import within


class OwnCancellation(asyncio.CancelledError):
    """As `wait_for2` has one, which carries a result."""


async def waits(answers: asyncio.Event) -> None:
    try:
        await answers.wait()
    except asyncio.CancelledError:
        raise OwnCancellation from None


async def test_a_cancellation_of_another_kind_is_a_timeout_too() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.0):
            await waits(asyncio.Event())
    # The task is as if nothing had been cancelled.
    await asyncio.sleep(0)


async def test_what_comes_in_time_comes() -> None:
    answers = asyncio.Event()
    answers.set()
    async with within(10.0):
        await waits(answers)


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async def work() -> None:
        async with within(10.0):
            await waits(asyncio.Event())

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
