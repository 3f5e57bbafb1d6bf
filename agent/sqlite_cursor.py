"""A statement on SQLite as one piece of work for its connection's thread.

aiosqlite does everything in a thread, and SQLAlchemy's cursor asks it four times for each
statement; the ways there and back cost many times what SQLite does.

    begin, if it is the first ─ open ─ execute ─ fetch ─ close        one way there and back

Source: https://docs.sqlalchemy.org/en/21/core/events.html#sqlalchemy.events.DialectEvents.do_connect
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
)
from sqlalchemy.util import immutabledict

_Rows = list[Any]


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
                if beginning is not None:
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


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("beginning",)

    _cursor_cls: type[AsyncAdapt_aiosqlite_cursor] = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        # What the next statement comes after, as it begins a transaction.
        self.beginning: str | None = None

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


def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> _Connection:
    """Open a connection whose statements are one piece of work each; a `do_connect` listener."""
    opened = dialect.connect(*arguments, **options)
    return _Connection(opened.dbapi, opened.driver_connection)
