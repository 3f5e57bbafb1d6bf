"""What runs beside a replay, and how it is ended."""

import asyncio
from collections.abc import Sequence


async def stopped(tasks: Sequence[asyncio.Task[None]]) -> list[Exception]:
    """Cancel these and wait for their end; what went wrong in them before."""
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return [problem for problem in ended if isinstance(problem, Exception)]
