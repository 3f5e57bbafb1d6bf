"""The database engine, opened the same way by the server, its migrations and the tests.

Any database that SQLAlchemy knows by an async driver; SQLite and PostgreSQL are meant.
"""

from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agent import sqlite_cursor
from agent.storable import json_text

# An execution option of transactions that write; SQLite takes its lock when they begin.
WRITES = "writes"

_PATIENCE_SECS = sqlite_cursor.PATIENCE_SECS

# SQLite writes one transaction at a time; more connections would only be more threads.
_SQLITE_CONNECTIONS = 5


def open_engine(database_url: str, pool_size: int = 20) -> AsyncEngine:
    """An engine for `database_url` (SQLAlchemy form, async driver) with at most `pool_size`
    connections. The caller disposes of it.

    Whoever waits 10 s for a connection is told that the database is away.

    SQLite: WAL, so that readers never wait; foreign keys are held; a writer waits up to 10 s for
    its turn; a commit survives a killed process, and a power cut at worst loses the last ones.
    No error repeats the values of a statement: they are what callers said.
    Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_PATIENCE_SECS,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=json_text,
            connect_args={"timeout": _PATIENCE_SECS},
        )
    if url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: a record in memory would not survive a restart")
    size = min(pool_size, _SQLITE_CONNECTIONS)
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_PATIENCE_SECS,
        hide_parameters=True,
        json_serializer=json_text,
    )
    event.listen(engine.sync_engine, "do_connect", sqlite_cursor.connect)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's driver begins transactions by its own rules otherwise, and never at a SELECT.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        # First, so that switching to WAL waits for other processes, too.
        cursor.execute(sqlite_cursor.busy_timeout_pragma())
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later is refused at once when another one wrote in
    # between (SQLITE_BUSY_SNAPSHOT); with the lock from the start it waits for its turn.
    writes = connection.get_execution_options().get(WRITES, False)
    sqlite_cursor.begin(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")


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
