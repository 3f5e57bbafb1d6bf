"""Alembic migrations of the database.

`upgrade(database_url)` brings a database to the newest schema; it is safe to call at every start,
and from several processes at once. `__main__.py` writes new revisions.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.record.database import open_engine, writing_engine

# The last of `versions`: a database that has it is not migrated.
NEWEST = "0006"

# Any number that nothing else in the database locks.
_POSTGRES_LOCK = 7_265_190_113


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`: all of it or, on an error, none."""
    if revision == "head" and await _is_newest(database_url):
        return
    # Alembic is a tenth of what a start imports.
    from server.migrations import schema_changes

    await migrate(database_url, lambda opened: schema_changes.upgrade(opened, revision))


async def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to `revision`, `base` being the empty database."""
    from server.migrations import schema_changes

    await migrate(database_url, lambda opened: schema_changes.downgrade(opened, revision))


async def revisions(database_url: str) -> tuple[str | None, str, frozenset[str]]:
    """The database's revision (None: none yet), the newest one, and all that are known here.

    Changes nothing.
    """
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from server.migrations import schema_changes

    def look(opened: Connection) -> tuple[str | None, frozenset[str]]:
        script = ScriptDirectory.from_config(schema_changes.config(opened))
        known = frozenset(it.revision for it in script.walk_revisions())
        return MigrationContext.configure(opened).get_current_revision(), known

    engine = open_engine(database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            current, known = await connection.run_sync(look)
    finally:
        await engine.dispose()
    return current, NEWEST, known


async def _is_newest(database_url: str) -> bool:
    engine = open_engine(database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalars().all() == [NEWEST]
    except DBAPIError:
        return False  # there is no such table yet, or no database: migrating says which
    finally:
        await engine.dispose()


async def migrate(database_url: str, change: Callable[[Connection], None]) -> None:
    """Change the schema in one transaction, while no other process does."""
    engine = open_engine(database_url, pool_size=1)
    try:
        # The lock is held to the end of the transaction: whoever comes second finds the work done.
        async with _altering_engine(engine).begin() as connection:
            if connection.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                await connection.execute(lock, {"number": _POSTGRES_LOCK})
            await connection.run_sync(change)
    finally:
        await engine.dispose()


def _altering_engine(engine: AsyncEngine) -> AsyncEngine:
    """The engine that migrations run on.

    SQLite changes a column by copying the table and dropping the old one, which would delete the
    rows of other tables that refer to it. Foreign keys can only be turned off before a transaction.
    Source: https://www.sqlite.org/lang_altertable.html#otheralter
    """
    writer = writing_engine(engine)
    if engine.dialect.name == "sqlite":
        event.listen(writer.sync_engine, "connect", _without_foreign_keys)
    return writer


def _without_foreign_keys(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()
