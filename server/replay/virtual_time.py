"""An event loop whose clock jumps: when nothing is ready, the next timer is due at once.

Everything that asks the loop for its time lives in virtual time: sleeps, timeouts, sockets on
loopback, TLS, Pipecat, uvicorn, the emulators. What works in threads (the twilio SDK, aiosqlite)
does not: while a thread works for the loop, the clock stands still, and the loop waits for real.

    ready ──▶ run it
    nothing ready, a thread works ──▶ wait for it; the clock stands
    nothing ready, a timer waits ──▶ the clock jumps to it
"""

import asyncio
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from unittest.mock import patch

from aiosqlite import core as aiosqlite_core

# Where the clock starts: not at zero, so that "never" and "at the start" differ.
STARTS_AT_SECS = 1_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for what is ready, but never for a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped_secs = 0.0
        # How much work threads do for the loop.
        self.held = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or (super().select(None) if timeout is None else [])
        if self.held:
            return super().select(None)
        self.jumped_secs += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since long before the loop began; they pass by jumps alone."""
        return STARTS_AT_SECS + self._jumping.jumped_secs

    def hold_until(self, future: asyncio.Future[Any]) -> None:
        """Let the clock stand still until this is done."""
        self._jumping.held += 1

        def let_go(_: asyncio.Future[Any]) -> None:
            self._jumping.held -= 1

        future.add_done_callback(let_go)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run in a thread, while the clock stands still."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self.hold_until(future)
        return future

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        """Wait for its threads, for as long as they really take."""
        self._jumping.held += 1
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self._jumping.held -= 1


class _HoldingQueue(SimpleQueue):  # type: ignore[type-arg]
    """What aiosqlite hands to a connection's thread: the clock stands until it is answered."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future = item[0]
        if future is not None:
            loop = future.get_loop()
            if isinstance(loop, VirtualTimeLoop):
                loop.hold_until(future)
        super().put_nowait(item)


@contextmanager
def fenced_sqlite() -> Iterator[None]:
    """Have connections that aiosqlite opens meanwhile hold the virtual clock while they work.

    aiosqlite's threads belong to no executor, and it has no hook: its queue is replaced.
    """
    with patch.object(aiosqlite_core, "SimpleQueue", _HoldingQueue):
        yield
