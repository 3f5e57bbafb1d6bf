"""Writes a new revision from the difference between the models and the newest schema:

`python -m server.migrations sqlite+aiosqlite:///calls.db "add a column"`
"""

import asyncio
import sys

from alembic import command

from agent.record.database import open_engine
from server.migrations import migrate
from server.migrations.schema_changes import config, upgrade


async def _write(database_url: str, message: str) -> None:
    await migrate(database_url, lambda opened: upgrade(opened, "head"))
    engine = open_engine(database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(
                lambda opened: command.revision(config(opened), message, autogenerate=True)
            )
    finally:
        await engine.dispose()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit('usage: python -m server.migrations DATABASE_URL "what changes"')
    asyncio.run(_write(sys.argv[1], sys.argv[2]))
