"""What tests run on: databases, certificates, Hypothesis' profiles, and who blocks their loop."""

import asyncio
import gc
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import certifi
import httpx
import pytest
from hypothesis import HealthCheck, settings

from server.demo.temporal_server import TemporalServer, running_temporal
from server.emulators.gemini_live.certificate import make_certificate
from server.migrations import upgrade
from tests.loop_stalls import Stall, watched_loop
from tests.postgres import Postgres, running_postgres
from tests.server.process_template import ProcessTemplate

# A machine that is busy with something else is no finding.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same few examples, each time: for every change. `make test-long` looks at many others.
settings.register_profile("short", PATIENT, max_examples=25, derandomize=True)
settings.register_profile("long", PATIENT, max_examples=500, print_blob=True)
settings.load_profile("short")

# httpx imports the library below it when it is first used. Where that is within a pytester's run,
# Python forgets the module behind it, and there are two afterwards with errors of their own.
httpx.HTTPTransport().close()


def pytest_collection_finish() -> None:
    """Look for garbage rarely, and never in what was imported and collected: it stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clients trust one authority: reading those of the world takes 25 ms a client."""
    made = make_certificate(tmp_path_factory.mktemp("authority"))
    with pytest.MonkeyPatch.context() as patch:
        # They come before certifi where a machine has them.
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            patch.delenv(name, raising=False)
        patch.setattr(certifi, "where", lambda: str(made.ca_file))
        yield


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "calls.db"
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server, started for the first test of this process that asks for it."""
    with running_postgres() as server:
        asyncio.run(server.prepare())
        yield server


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A Temporal server, started for the first test of this process that asks for it."""
    with running_temporal(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
def process_template() -> Iterator[ProcessTemplate]:
    """Starts processes of `voice-ai` that need not import everything first."""
    template = ProcessTemplate()
    yield template
    template.close()


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
async def database_url(
    database_server: Postgres | None, migrated_file: Path, tmp_path: Path
) -> AsyncIterator[str]:
    """DATABASE_URL of a migrated database."""
    if database_server is None:
        yield f"sqlite+aiosqlite:///{shutil.copy(migrated_file, tmp_path)}"
        return
    async with database_server.database(migrated=True) as url:
        yield url


@pytest.fixture
async def stalls() -> AsyncIterator[list[Stall]]:
    """The stalls of the test's event loop, so far."""
    with watched_loop() as seen:
        yield seen
