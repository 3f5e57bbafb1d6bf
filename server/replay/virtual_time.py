"""An event loop whose clock jumps, and on which everything happens in one order.

Everything that asks the loop for its time lives in virtual time: sleeps, timeouts, sockets on
loopback, TLS, Pipecat, uvicorn, the emulators. What comes from threads (the twilio SDK, aiosqlite)
would come at any moment: it is let in when nothing else is left to do at this instant, one at a
time, and the clock stands while a thread works.

    something is ready ──▶ run it; sockets in the order in which they were watched
    nothing is ready ──▶ let in one thing that a thread does, says or has done
    a thread works ──▶ wait for it; the clock stands
    nothing at all ──▶ the clock jumps to the next timer
"""

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import Any

from server.replay.thread_work import Errand, ThreadWork

# Where the clock starts: not at zero, so that "never" and "at the start" differ.
STARTS_AT_SECS = 1_000.0

Ready = list[tuple[selectors.SelectorKey, int]]


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for what is ready, but never for a timer."""

    def __init__(self, work: ThreadWork) -> None:
        super().__init__()
        self.jumped_secs = 0.0
        # Addresses of sockets that the loop itself connected.
        self.dialled: set[Any] = set()
        self._work = work
        self._watched = count()
        self._order: dict[int, int] = {}
        # Whether a socket's other end belongs to a thread; known once something came from it.
        self._of_thread: dict[int, bool] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket."""
        key = super().register(fileobj, events, data)
        self._order[key.fd] = next(self._watched)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch it no longer."""
        key = super().unregister(fileobj)
        self._order.pop(key.fd, None)
        self._of_thread.pop(key.fd, None)
        return key

    def select(self, timeout: float | None = None) -> Ready:
        """What is ready, and with `timeout` another than 0 what a thread brought about."""
        has_more_to_do = timeout is not None and timeout <= 0
        while True:
            # Looked at before the sockets: what a thread sent, it sent before it ended.
            ended = [] if has_more_to_do else self._work.ended()
            ours, theirs = self._ready()
            if ours or has_more_to_do:
                return ours
            if self._work.run_statement():
                return []
            if theirs:
                return theirs
            if self._work.let_in(ended):
                return []
            self._work.start_errand()
            if self._work.is_on:
                if not super().select(self._work.patience_secs):
                    self._work.start_errand(beside=True)
            elif timeout is None:
                super().select(None)
            else:
                self.jumped_secs += timeout
                return []

    def _ready(self) -> tuple[Ready, Ready]:
        """What can be read and written at once: between our sockets, and from threads'."""
        ours: Ready = []
        theirs: Ready = []
        for each in sorted(super().select(0), key=self._place):
            (theirs if self._is_of_thread(each[0].fd) else ours).append(each)
        return ours, theirs

    def _place(self, ready: tuple[selectors.SelectorKey, int]) -> int:
        return self._order[ready[0].fd]

    def _is_of_thread(self, fd: int) -> bool:
        known = self._of_thread.get(fd)
        if known is None:
            known = self._of_thread[fd] = self._was_dialled_by_thread(fd)
        return known

    def _was_dialled_by_thread(self, fd: int) -> bool:
        watched = socket.socket(fileno=fd)
        try:
            if watched.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            ends = {watched.getsockname(), watched.getpeername()}
        except OSError:
            # It listens, or its other end is gone before it said anything.
            return False
        finally:
            watched.detach()
        return not ends & self.dialled


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, for the thread that makes it."""

    def __init__(self) -> None:
        self.work = ThreadWork(wake=lambda: self._wake())
        self._jumping = _JumpingSelector(self.work)
        self._thread = threading.get_ident()
        self._default_threads: ThreadPoolExecutor | None = None
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since long before the loop began; they pass by jumps alone."""
        return STARTS_AT_SECS + self._jumping.jumped_secs

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect, and remember that this socket is the loop's own."""
        await super().sock_connect(sock, address)
        with suppress(OSError):
            self._jumping.dialled.add(sock.getsockname())

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call soon; from another thread, when nothing else is left to do at this instant."""
        if self.is_closed() or threading.get_ident() == self._thread:
            return super().call_soon_threadsafe(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)

        def call() -> None:
            if not handle.cancelled():
                self.call_soon(callback, *args, context=context)

        self.work.said(call)
        return handle

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run in a thread, after what was given to threads before, while the clock stands."""
        if executor is None and self._default_threads is None:
            self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        threads = executor or self._default_threads
        assert threads is not None
        errand = Errand(self.create_future(), lambda: threads.submit(func, *args))
        self.work.give(errand)
        return errand.future

    def set_default_executor(self, executor: Any) -> None:
        """Use these threads where none are named."""
        super().set_default_executor(executor)
        self._default_threads = executor

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        """Wait for its threads, for as long as they really take."""
        with self.work.going_on():
            while errands := self.work.errands():
                await asyncio.wait(errands)
            await super().shutdown_default_executor(*args, **options)

    def close(self) -> None:
        """Close, once connections have done what they were still told: it may end their threads."""
        while self.work.run_statement():
            pass
        super().close()

    def _wake(self) -> None:
        if not self.is_closed():
            super().call_soon_threadsafe(_nothing)


def _nothing() -> None:
    """What a call does that shall only wake the loop."""
