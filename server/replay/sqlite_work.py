"""SQLite in virtual time: what aiosqlite's threads do, one statement after the other.

aiosqlite's threads belong to no executor, and it has no hook: its queue is replaced. A statement of
a connection in a transaction goes before those of others, which may wait for its lock.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Self
from unittest.mock import patch

from aiosqlite import core as aiosqlite_core

from server.replay.virtual_time import VirtualTimeLoop

Function = Callable[[], Any]


class _Statement:
    """One function for a connection's thread, to which it stands for the future of the answer."""

    def __init__(
        self, future: asyncio.Future[Any], function: Function, queue: "_OrderedQueue"
    ) -> None:
        self.ended = threading.Event()
        self._future = future
        self._function = function
        self._queue = queue
        self._wake: Function = lambda: None
        self._answer: Function = lambda: None

    @property
    def goes_first(self) -> bool:
        """Whether its connection may hold a lock."""
        return self._queue.in_transaction

    def start(self, wake: Function) -> None:
        """Give it to the connection's thread."""
        self._wake = wake
        SimpleQueue.put_nowait(self._queue, (self, self._do))

    def deliver(self) -> None:
        """Set the future."""
        self._answer()

    def get_loop(self) -> Self:
        """As a future's: where its answer is to be told."""
        return self

    def call_soon_threadsafe(
        self, settle: Callable[[asyncio.Future[Any], Any], None], _: object, answer: Any
    ) -> None:
        """As a loop's: keep the answer."""
        self._answer = lambda: settle(self._future, answer)
        self.ended.set()
        self._wake()

    def _do(self) -> Any:
        try:
            result = self._function()
            if isinstance(result, sqlite3.Connection):
                self._queue.connection = result
        finally:
            self._queue.look()
        return result


class _OrderedQueue(SimpleQueue):  # type: ignore[type-arg]
    """What aiosqlite hands to a connection's thread."""

    connection: sqlite3.Connection | None = None
    in_transaction = False

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Function]) -> None:
        """Hand it over, on a loop in virtual time when it is its turn."""
        future, function = item
        loop = None if future is None else future.get_loop()
        if future is not None and isinstance(loop, VirtualTimeLoop):
            loop.work.give(_Statement(future, function, self))
        else:
            super().put_nowait(item)

    def look(self) -> None:
        """See whether a transaction is open; called in the connection's thread."""
        try:
            self.in_transaction = self.connection is not None and self.connection.in_transaction
        except sqlite3.ProgrammingError:
            # It is closed.
            self.in_transaction = False


@contextmanager
def ordered_sqlite() -> Iterator[None]:
    """Have connections that aiosqlite opens meanwhile work in one order, while the clock stands."""
    with patch.object(aiosqlite_core, "SimpleQueue", _OrderedQueue):
        yield
