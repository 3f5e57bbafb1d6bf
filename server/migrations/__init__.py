"""Alembic migrations of the database.

`upgrade(database_url)` brings a database to the newest schema; it is safe to call at every start,
and from several processes at once. `__main__.py` writes new revisions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.record.database import open_engine, writing_engine

# Any number that nothing else in the database locks.
_POSTGRES_LOCK = 7_265_190_113


def config(connection: Connection) -> Config:
    """Alembic's settings for an open connection."""
    settings = Config()
    # Alembic reads a percent sign as the start of a variable.
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`: all of it or, on an error, none."""
    await _migrate(database_url, lambda settings: command.upgrade(settings, revision))


async def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to `revision`, `base` being the empty database."""
    await _migrate(database_url, lambda settings: command.downgrade(settings, revision))


async def revisions(database_url: str) -> tuple[str | None, str, frozenset[str]]:
    """The database's revision (None: none yet), the newest one, and all that are known here.

    Changes nothing.
    """
    engine = open_engine(database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            current = await connection.run_sync(
                lambda opened: MigrationContext.configure(opened).get_current_revision()
            )
            script = await connection.run_sync(
                lambda opened: ScriptDirectory.from_config(config(opened))
            )
    finally:
        await engine.dispose()
    head = script.get_current_head()
    assert head is not None, "there are revisions"
    return current, head, frozenset(it.revision for it in script.walk_revisions())


async def _migrate(database_url: str, change: Callable[[Config], None]) -> None:
    engine = open_engine(database_url, pool_size=1)
    try:
        # The lock is held to the end of the transaction: whoever comes second finds the work done.
        async with _altering_engine(engine).begin() as connection:
            if connection.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:number)")
                await connection.execute(lock, {"number": _POSTGRES_LOCK})
            await connection.run_sync(lambda opened: change(config(opened)))
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
