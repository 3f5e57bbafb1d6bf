"""The database engine, opened the same way by the server, its migrations and the tests.

Any database that SQLAlchemy knows by an async driver; SQLite and PostgreSQL are meant.
"""

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agent.record.text_column import json_text

# Whoever waits longer for a connection, or for SQLite's lock, is told that the database is away.
PATIENCE_SECS = 10

# SQLite writes one transaction at a time; more connections would only be more threads.
_SQLITE_CONNECTIONS = 5


def open_engine(database_url: str, pool_size: int = 20) -> AsyncEngine:
    """An engine for `database_url` (SQLAlchemy form, async driver) with at most `pool_size`
    connections. The caller disposes of it.

    Whoever waits 10 s for a connection is told that the database is away.
    No error repeats the values of a statement: they are what callers said.

    SQLite: WAL, so that readers never wait; foreign keys are held; a commit survives a killed
    process, and a power cut at worst loses the last ones. Transactions that write belong to
    `writing_engine`.
    Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=PATIENCE_SECS,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=json_text,
            connect_args={"timeout": PATIENCE_SECS},
        )
    if url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: a record in memory would not survive a restart")
    return _open_sqlite(url, min(pool_size, _SQLITE_CONNECTIONS), "BEGIN")


def writing_engine(engine: AsyncEngine) -> AsyncEngine:
    """The engine for transactions that write to the database of `engine`; disposed of with it.

    On SQLite it has one connection of its own, and takes the lock when a transaction begins.
    Writers wait up to 10 s for their turn at that connection, and then up to 10 s for a lock that
    another process holds; readers keep the connections of `engine`. Elsewhere it is `engine`.
    """
    if engine.dialect.name != "sqlite":
        return engine
    # A transaction that reads first and writes later is refused at once when another one wrote in
    # between (SQLITE_BUSY_SNAPSHOT); with the lock from the start it waits for its turn.
    writer = _open_sqlite(engine.url, 1, "BEGIN IMMEDIATE")
    event.listen(engine.sync_engine, "engine_disposed", lambda _: writer.sync_engine.dispose())
    return writer


def _open_sqlite(url: URL, pool_size: int, begin: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=PATIENCE_SECS,
        hide_parameters=True,
        json_serializer=json_text,
        # Python's driver begins transactions by its own rules otherwise, and never at a SELECT.
        connect_args={"timeout": PATIENCE_SECS, "isolation_level": None},
    )

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "do_connect", _try_to_open)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _try_to_open(_dialect: Any, _record: Any, arguments: Any, options: Any) -> None:
    """Fail for a file that cannot be opened before aiosqlite has started a thread for it."""
    sqlite3.connect(*arguments, **options).close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()
    except BaseException:
        # The pool forgets it; its thread would go on.
        connection.close()
        raise


class DatabaseAway(Exception):
    """The database is busy, full, away or restarting: the same may succeed later."""


# SQLSTATE classes and codes after which the same statement may succeed: connection, rollback,
# resources (a full disk), operator, system; a lock not had, a server that only reads for now.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING_STATES = ("08", "40", "53", "57", "58", "55P03", "25006")


def is_passing(error: BaseException) -> bool:
    """Whether the same statement may succeed later: the database is busy, away or restarting."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_PASSING_STATES)
        # asyncpg's name for a value that does not fit its column is a kind of InterfaceError.
        of_the_value = isinstance(error.orig.__cause__ if error.orig else None, ValueError)
        return isinstance(error, OperationalError | InterfaceError) and not of_the_value
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    return isinstance(error, DatabaseAway | PoolTimeout | OSError)
