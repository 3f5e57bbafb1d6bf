"""Waiting for a state, never for a time."""

import asyncio
from collections.abc import Callable


class Changes:
    """Wakes whoever waits for a condition, when told that something changed.

    The condition is asked at each `happened()`, so what makes it true must be followed by one.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def happened(self) -> None:
        """Ask every condition again."""
        if not self._waiting:
            return
        still = []
        for condition, waiter in self._waiting:
            if waiter.done():
                continue
            if condition():
                waiter.set_result(None)
            else:
                still.append((condition, waiter))
        self._waiting = still

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, waiter))
        await waiter
