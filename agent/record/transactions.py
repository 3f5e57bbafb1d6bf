"""Transactions: reading and writing sessions of the record's database, and whether writing works.

Each is one transaction. It raises `DatabaseUnavailable`, and stores nothing, when the database is
busy, full or cannot be reached.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.record.database import DatabaseUnavailable, is_transient, writing_engine

# A write that is older says nothing of the next one.
_PROBE_AFTER_SECS = 1.0

S = TypeVar("S", bound="Transactions")
T = TypeVar("T")
P = ParamSpec("P")


def shielded(
    write: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run a method in a task of its own, so that it completes when its caller is cancelled.

    A statement in aiosqlite's thread cannot be cancelled, and an unclosed cursor would hold
    SQLite's lock.
    """

    @wraps(write)
    async def complete(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(write(self, *args, **kwargs))
        self.writes.add(task)
        task.add_done_callback(self.writes.discard)
        return await asyncio.shield(task)

    return complete


class Transactions:
    """Sessions of one database; SQLite has one connection for writing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._reader = engine
        self._writer = writing_engine(engine)
        # Writes under way; the event loop holds only weak references to tasks.
        self.writes: set[asyncio.Task[Any]] = set()
        # When a write last succeeded or failed, and why it failed.
        self._tried_at = -math.inf
        self._write_failure: DatabaseUnavailable | None = None
        self._probe: asyncio.Task[None] | None = None

    async def check_writing(self) -> None:
        """Raise when the last write failed: of a call, or a probe when that is over a second ago.

        Raises: DatabaseUnavailable.
        """
        if self._probe is None and time.monotonic() - self._tried_at > _PROBE_AFTER_SECS:
            self._probe = asyncio.create_task(self._write_probe(), name="write-probe")
        if self._probe is not None:
            await asyncio.shield(self._probe)
        if self._write_failure is not None:
            raise self._write_failure

    async def _write_probe(self) -> None:
        """Commit a change that means nothing: reaching the database does not show a full disk."""
        try:
            async with self._writing() as session:
                connection = await session.connection()
                if connection.dialect.name == "sqlite":
                    change = f"PRAGMA user_version = {int(time.time()) % 2**31}"
                else:
                    change = "UPDATE alembic_version SET version_num = version_num"
                await connection.exec_driver_sql(change)
        except DatabaseUnavailable:
            pass  # `_writing` has noted it
        finally:
            self._probe = None

    def _note_write(self, failure: DatabaseUnavailable | None) -> None:
        self._tried_at, self._write_failure = time.monotonic(), failure

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session
        except Exception as error:
            _raise_if_unavailable(error)
            raise

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        try:
            async with (
                AsyncSession(self._writer, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except Exception as error:
            try:
                _raise_if_unavailable(error)
            except DatabaseUnavailable as unavailable:
                self._note_write(unavailable)
                raise
            raise
        self._note_write(None)


def _raise_if_unavailable(error: Exception) -> None:
    if not isinstance(error, DatabaseUnavailable) and is_transient(error):
        raise DatabaseUnavailable(
            f"the database cannot be used now: {type(error).__name__}"
        ) from error
