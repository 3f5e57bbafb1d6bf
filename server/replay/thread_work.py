"""What threads do for a loop in virtual time, and the order in which the loop comes to know it.

Two kinds of work are told apart:

    statement   needs nothing of the loop (a connection of aiosqlite's): the loop waits for it
    errand      may talk with what the loop serves (the twilio SDK): one at a time, the loop goes on

So what a thread brings about depends on what the loop did before, and never on how fast it is.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol

# A statement that takes longer may wait for another's lock, an errand for another errand.
PATIENCE_SECS = 2.0


class Statement(Protocol):
    """Work that a thread of its own does in one go."""

    ended: threading.Event

    @property
    def goes_first(self) -> bool:
        """Whether others may wait for a lock that this one gives back."""
        ...

    def start(self, wake: Callable[[], None]) -> None:
        """Have it done; at its end, set `ended` and call `wake`."""
        ...

    def deliver(self) -> None:
        """Tell the loop what came of it, once it has ended."""
        ...


class Errand:
    """Work for a pool of threads. `future` is the loop's, `submit` gives the work to the pool."""

    def __init__(self, future: asyncio.Future[Any], submit: Callable[[], Future[Any]]) -> None:
        self.future = future
        self.ended = threading.Event()
        self._submit = submit
        self._done: Future[Any] = Future()

    def start(self, wake: Callable[[], None]) -> None:
        """Give it to its threads; at its end, set `ended` and call `wake`."""

        def end(_: Future[Any]) -> None:
            self.ended.set()
            wake()

        try:
            self._done = self._submit()
        except RuntimeError as problem:
            # The pool was shut down.
            self._done.set_exception(problem)
        self.future.add_done_callback(lambda _: self._done.cancel())
        self._done.add_done_callback(end)

    def deliver(self) -> None:
        """Tell the loop what came of it, once it has ended."""
        if self.future.done():
            return
        if self._done.cancelled():
            self.future.cancel()
        elif (problem := self._done.exception()) is not None:
            self.future.set_exception(problem)
        else:
            self.future.set_result(self._done.result())


class ThreadWork:
    """The work of threads for one loop. `wake` ends the loop's wait; any thread may call it.

    Called on the loop's thread, except `said`.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._statements: deque[Statement] = deque()
        self._errands: deque[Errand] = deque()
        self._at_work: list[Statement | Errand] = []
        self._said: deque[Callable[[], None]] = deque()
        self._going_on = 0

    @property
    def is_on(self) -> bool:
        """Whether a thread works, or has something to tell."""
        return bool(self._at_work or self._said or self._going_on)

    @property
    def patience_secs(self) -> float | None:
        """How long to wait for a thread before another errand may start; None: for ever."""
        return PATIENCE_SECS if self._errands else None

    def give(self, work: Statement | Errand) -> None:
        """Have this done, when it is its turn."""
        if isinstance(work, Errand):
            self._errands.append(work)
        else:
            self._statements.append(work)

    def said(self, call: Callable[[], None]) -> None:
        """A thread wants the loop to call this."""
        self._said.append(call)
        self._wake()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Have the clock stand meanwhile."""
        self._going_on += 1
        try:
            yield
        finally:
            self._going_on -= 1

    def errands(self) -> list[asyncio.Future[Any]]:
        """The errands that wait or are under way."""
        under_way = [work for work in self._at_work if isinstance(work, Errand)]
        return [
            errand.future for errand in (*under_way, *self._errands) if not errand.future.done()
        ]

    def run_statement(self) -> bool:
        """Have the next statement done, and wait for it; whether there was one."""
        if not self._statements:
            return False
        statement = next((each for each in self._statements if each.goes_first), None)
        if statement is None:
            statement = self._statements[0]
        self._statements.remove(statement)
        statement.start(self._wake)
        if statement.ended.wait(PATIENCE_SECS):
            statement.deliver()
        else:
            self._at_work.append(statement)
        return True

    def start_errand(self, *, beside: bool = False) -> None:
        """Start the next errand if none is under way, or `beside` one that is."""
        while self._errands and self._errands[0].future.done():
            self._errands.popleft()
        under_way = any(isinstance(work, Errand) for work in self._at_work)
        if self._errands and (beside or not under_way):
            errand = self._errands.popleft()
            self._at_work.append(errand)
            errand.start(self._wake)

    def ended(self) -> list[Statement | Errand]:
        """The work that has ended and was not let in yet, in the order in which it began."""
        return [work for work in self._at_work if work.ended.is_set()]

    def let_in(self, ended: list[Statement | Errand]) -> bool:
        """Take one thing that a thread said, else the first of these; whether there was any."""
        if self._said:
            self._said.popleft()()
            return True
        for work in ended[:1]:
            self._at_work.remove(work)
            work.deliver()
        return bool(ended)
