"""What tests run on, an SQLite file and a real PostgreSQL server, and who blocks their loop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.migrations import upgrade
from tests.loop_stalls import Stall, watched_loop
from tests.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server, started for the first test of this process that asks for it."""
    with running_postgres() as server:
        asyncio.run(server.prepare())
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_server(request: pytest.FixtureRequest) -> Postgres | None:
    """Every test that asks for a database runs on both; None stands for SQLite, a file."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server


@pytest.fixture
async def empty_database(database_server: Postgres | None, tmp_path: Path) -> AsyncIterator[str]:
    """DATABASE_URL of a database without a table."""
    if database_server is None:
        yield f"sqlite+aiosqlite:///{tmp_path / 'per%cent.db'}"
        return
    async with database_server.database(migrated=False) as url:
        yield url


@pytest.fixture
async def database_url(database_server: Postgres | None, tmp_path: Path) -> AsyncIterator[str]:
    """DATABASE_URL of a migrated database."""
    if database_server is None:
        url = f"sqlite+aiosqlite:///{tmp_path / 'calls.db'}"
        await upgrade(url)
        yield url
        return
    async with database_server.database(migrated=True) as url:
        yield url


@pytest.fixture
async def stalls() -> AsyncIterator[list[Stall]]:
    """The stalls of the test's event loop, so far."""
    with watched_loop() as seen:
        yield seen
