"""Database engines for SQLite and PostgreSQL, shared by server, migrations and tests."""

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agent.record.database_url import parse_database_url
from agent.record.text_column import json_text

# How long to wait for a connection, or for SQLite's lock, before `DatabaseUnavailable`.
TIMEOUT_SECS = 10

# SQLite writes one transaction at a time; more connections would only be more threads.
_SQLITE_CONNECTIONS = 5


def open_engine(database_url: str, pool_size: int = 20) -> AsyncEngine:
    """An engine for `database_url` (SQLAlchemy form, async driver) with at most `pool_size`
    connections. The caller disposes of it.

    Waiting 10 s for a connection raises a timeout. Errors never contain the values of a statement,
    because these are what callers said.

    SQLite: WAL, so that readers never wait; foreign keys are enforced; a commit survives a killed
    process, a power cut may lose the last ones. Use `writing_engine` for writing transactions.
    Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    url, arguments = parse_database_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=TIMEOUT_SECS,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=json_text,
            connect_args={"timeout": TIMEOUT_SECS} | arguments,
        )
    if url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: a record in memory would not survive a restart")
    return _open_sqlite(url, min(pool_size, _SQLITE_CONNECTIONS), "BEGIN")


def writing_engine(engine: AsyncEngine) -> AsyncEngine:
    """The engine for transactions that write; disposed of with `engine`.

    On SQLite it has one connection of its own, and locks the database when a transaction begins.
    A writer waits up to 10 s for that connection, then up to 10 s for another process's lock.
    On other databases it is `engine` itself.
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
        pool_timeout=TIMEOUT_SECS,
        hide_parameters=True,
        json_serializer=json_text,
        # Otherwise Python's driver begins transactions itself, and never at a SELECT.
        connect_args={"timeout": TIMEOUT_SECS, "isolation_level": None},
    )

    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "do_connect", _try_to_open)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _try_to_open(_dialect: Any, _record: Any, arguments: Any, options: Any) -> None:
    """Fail for a file that cannot be opened, before aiosqlite starts a thread for it."""
    sqlite3.connect(*arguments, **options).close()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()
    except BaseException:
        # The pool drops the connection, but its thread would keep running.
        connection.close()
        raise


class DatabaseUnavailable(Exception):
    """The database is busy, full, unreachable or restarting: a retry may succeed."""


# SQLSTATE classes and codes after which a retry may succeed: connection, rollback, resources
# (a full disk), operator, system; lock not available, read-only server.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_SQLSTATES = ("08", "40", "53", "57", "58", "55P03", "25006")


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: the database is busy, full, unreachable or restarting."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return str(state).startswith(_TRANSIENT_SQLSTATES)
        # asyncpg's name for a value that does not fit its column is a kind of InterfaceError.
        of_the_value = isinstance(error.orig.__cause__ if error.orig else None, ValueError)
        return isinstance(error, OperationalError | InterfaceError) and not of_the_value
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_TRANSIENT_SQLSTATES)
    return isinstance(error, DatabaseUnavailable | PoolTimeout | OSError)
