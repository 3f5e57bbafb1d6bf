"""EndWaiters: wakes those in this process that wait for a call to end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class EndWaiters:
    """Futures that wait for the ends of calls."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    @contextmanager
    def waiting(self, call_id: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the call ends; `close` cancels it."""
        end = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(call_id, set())
        waiting.add(end)
        try:
            yield end
        finally:
            waiting.discard(end)
            if not waiting and self._waiting.get(call_id) is waiting:
                del self._waiting[call_id]

    def ended(self, call_id: str) -> None:
        """Wake all that wait for this call."""
        for end in self._waiting.pop(call_id, set()):
            if not end.done():
                end.set_result(None)

    def close(self) -> None:
        """Cancel all waiters."""
        for waiting in self._waiting.values():
            for end in waiting:
                end.cancel()
