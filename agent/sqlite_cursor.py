"""A statement on SQLite, or a whole transaction, as one piece of work for its connection's thread.

aiosqlite does everything in a thread, and SQLAlchemy's cursor asks it four times for each
statement; the ways there and back cost many times what SQLite does.

    begin, if it is the first ─ open ─ execute ─ fetch ─ close        one way there and back

Source: https://docs.sqlalchemy.org/en/21/core/events.html#sqlalchemy.events.DialectEvents.do_connect
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

import aiosqlite
from sqlalchemy import Connection, Engine, PoolProxiedConnection, event
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import immutabledict

# Whoever has no lock, or no connection, after so long is told that the database is away.
PATIENCE_SECS = 10

_Rows = list[Any]
T = TypeVar("T")


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """The result of at most one statement; its rows are all here when it has run."""

    __slots__ = ()

    _adapt_connection: "_Connection"

    def __init__(self, connection: Any) -> None:
        self._adapt_connection = connection
        self._connection = connection._connection
        self._rows = deque()
        self._soft_closed_memoized = immutabledict()

    async def _execute_async(self, operation: Any, parameters: Any = None) -> Any:
        return await self._run(lambda cursor: cursor.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        return await self._run(lambda cursor: cursor.executemany(operation, seq_of_parameters))

    async def _run(self, statement: Callable[[sqlite3.Cursor], object]) -> None:
        connection: Any = self._connection
        beginning, self._adapt_connection.beginning = self._adapt_connection.beginning, None

        def work() -> tuple[sqlite3.Cursor, _Rows]:
            cursor: sqlite3.Cursor = connection._conn.cursor()
            try:
                if beginning:
                    cursor.execute(beginning)
                statement(cursor)
                return cursor, cursor.fetchall() if cursor.description else []
            finally:
                cursor.close()

        async with self._adapt_connection._execute_mutex:
            # A cursor that is closed still has its description, row count and last id.
            cursor, rows = await connection._execute(work)
        self._cursor = cursor
        self._rows = deque(rows)

    async def _async_soft_close(self) -> None:
        """It is closed."""

    def close(self) -> None:
        """Forget the rows."""
        self._rows.clear()


# There is no transaction, and none begins.
_NOTHING = ""


def _transact(connection: Any, work: Callable[[sqlite3.Cursor], T], until: float) -> T:
    cursor: sqlite3.Cursor = connection._conn.cursor()
    left_secs = until - time.monotonic()
    # Others were before it for long; what is left of its patience is all that it may wait.
    is_late = left_secs < PATIENCE_SECS - 1
    try:
        if left_secs <= 0:
            raise sqlite3.OperationalError("database is locked: others were waiting before")
        if is_late:
            cursor.execute(busy_timeout_pragma(left_secs))
        try:
            cursor.execute("BEGIN IMMEDIATE")
            done = work(cursor)
            cursor.execute("COMMIT")
        except BaseException:
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        finally:
            if is_late:
                cursor.execute(busy_timeout_pragma())
        return done
    finally:
        cursor.close()


def busy_timeout_pragma(secs: float | None = None) -> str:
    """The statement by which a connection waits so long for a lock that another one has."""
    return f"PRAGMA busy_timeout = {int(1000 * (PATIENCE_SECS if secs is None else secs))}"


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("beginning",)

    _cursor_cls: type[AsyncAdapt_aiosqlite_cursor] = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        # What the next statement comes after, as it begins a transaction.
        self.beginning: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its thread still takes work."""
        connection: Any = self._connection
        return bool(connection._running and connection._connection is not None)

    async def transact(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Do the work in one transaction, in the thread; whatever it raises undoes it."""
        connection: Any = self._connection
        if not self.is_open:
            raise sqlite3.OperationalError("the connection was closed")
        # It ends as it began: with nothing to commit or to take back.
        self.beginning = _NOTHING
        until = time.monotonic() + PATIENCE_SECS
        return cast(T, await connection._execute(_transact, connection, work, until))

    def commit(self) -> None:
        """End the transaction; one without a statement has none to end."""
        if self.beginning is None:
            super().commit()
        self.beginning = None

    def rollback(self) -> None:
        """End the transaction; one without a statement has none to end."""
        if self.beginning is None:
            super().rollback()
        self.beginning = None


def begin(connection: Connection, statement: str) -> None:
    """Begin a transaction by `statement`, together with the first of its own."""
    opened = connection.connection.dbapi_connection
    assert isinstance(opened, _Connection), "opened by `connect`"
    opened.beginning = statement


async def _open(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    connection = aiosqlite.connect(*arguments, **options)
    thread = connection._thread
    thread.daemon = True
    try:
        return await connection
    except sqlite3.Error:
        # It has been told to stop, and would tell this loop when it has: when that is closed by
        # then, it dies with a traceback.
        thread.join()
        raise


def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> _Connection:
    """Open a connection whose statements are one piece of work each; a `do_connect` listener."""
    opened = dialect.connect(*arguments, async_creator_fn=_open, **options)
    return _Connection(opened.dbapi, opened.driver_connection)


class Transacting:
    """Transactions on an engine's SQLite, each one piece of work for a connection's thread.

    SQLite has one writer at a time: one connection writes them all, and those that come meanwhile
    wait in its thread's queue, while the pool's other connections stay with the readers.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        pool: Any = engine.pool
        # Of a pool with one, the readers would have none.
        self._keeps = pool.size() > 1
        self._writer: PoolProxiedConnection | None = None
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        event.listen(engine.sync_engine, "engine_disposed", self._let_go)

    async def run(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Do the work in one transaction.

        Who waits for it may be cancelled; the work is then done, or not, as a whole.

        Raises: what the work raises; SQLAlchemy's errors when it cannot begin or be committed.
        """
        pooled = self._writer or await self._opened()
        opened = pooled.dbapi_connection
        assert isinstance(opened, _Connection), "opened by `connect`"
        try:
            return await opened.transact(work)
        except sqlite3.Error as error:
            raise as_sqlalchemy(error, "", self._engine.dialect) from error
        finally:
            if not self._keeps:
                pooled.close()
            elif not opened.is_open and pooled is self._writer:
                self._writer = None
                pooled.invalidate(soft=True)  # the pool opens another one when it is asked next
                pooled.close()

    async def _opened(self) -> PoolProxiedConnection:
        if not self._keeps:
            return await self._of_the_pool()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A lock is of one loop; a connection that was opened anew may serve another one.
            self._loop, self._opening = loop, asyncio.Lock()
        async with self._opening:
            if self._writer is None:
                self._writer = await self._of_the_pool()
            return self._writer

    async def _of_the_pool(self) -> PoolProxiedConnection:
        try:
            return await self._engine.raw_connection()
        except sqlite3.Error as error:
            raise as_sqlalchemy(error, "", self._engine.dialect) from error

    def _let_go(self, _: Engine) -> None:
        pooled, self._writer = self._writer, None
        if pooled is not None:
            pooled.detach()
            pooled.close()


def as_sqlalchemy(error: sqlite3.Error, statement: str, dialect: Any) -> BaseException:
    """The error of a statement as SQLAlchemy has it; it does not repeat the values."""
    return DBAPIError.instance(
        statement, None, error, sqlite3.Error, hide_parameters=True, dialect=dialect
    )
