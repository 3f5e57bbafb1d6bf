"""Work that is done once for all who ask for it at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedWork(Generic[T]):
    """Runs at most one piece of work at a time, to its end, whoever goes away meanwhile."""

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work that is under way, or of this work when none is."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
        return await asyncio.shield(self._task)
