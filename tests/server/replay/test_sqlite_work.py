"""SQLite in virtual time: in one order, and never waiting for a lock that can be given back."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from server.replay import thread_work
from server.replay.sqlite_work import ordered_sqlite
from server.replay.virtual_time import VirtualTimeLoop


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Run a scene; how long it took on the virtual clock."""
    with ordered_sqlite(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        began = loop.time()
        runner.run(scene())
        return loop.time() - began


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE line (number INTEGER PRIMARY KEY, who TEXT)")
    connection.close()
    return path


async def write(connection: aiosqlite.Connection, who: str, lines: int) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    for _ in range(lines):
        await connection.execute("INSERT INTO line (who) VALUES (?)", (who,))
    await connection.commit()


def test_writers_take_turns_without_waiting_for_a_lock(database: Path) -> None:
    async def scene() -> None:
        # A lock that is waited for is an error at once.
        async with (
            aiosqlite.connect(database, timeout=0, isolation_level=None) as one,
            aiosqlite.connect(database, timeout=0, isolation_level=None) as other,
        ):
            await asyncio.gather(write(one, "one", 3), write(other, "other", 2))
            rows = await one.execute_fetchall("SELECT who FROM line ORDER BY number")
        assert [row[0] for row in rows] == ["one"] * 3 + ["other"] * 2

    assert run(scene) == 0


def test_the_clock_stands_while_a_statement_is_executed(database: Path) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with aiosqlite.connect(database) as connection:
            began = loop.time()
            slept = asyncio.create_task(asyncio.sleep(5))
            await write(connection, "one", 100)
            assert loop.time() == began
            await slept

    assert run(scene) == 5


def test_a_lock_of_somebody_else_is_waited_for(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_work, "PATIENCE_SECS", 0.02)
    stranger = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN IMMEDIATE")

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with aiosqlite.connect(database, timeout=10, isolation_level=None) as connection:
            waits = asyncio.create_task(write(connection, "one", 1))
            await asyncio.sleep(0)
            await loop.run_in_executor(None, stranger.commit)
            await waits

    assert run(scene) == 0
    stranger.close()


def test_an_error_reaches_who_asked(database: Path) -> None:
    async def scene() -> None:
        async with aiosqlite.connect(database) as connection:
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await connection.execute("SELECT * FROM nowhere")

    run(scene)


def test_a_connection_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        with pytest.raises(sqlite3.OperationalError):
            await aiosqlite.connect(tmp_path / "nowhere" / "some.db")

    run(scene)


def test_no_thread_is_left_of_a_connection_that_nobody_waits_for(
    tmp_path: Path, database: Path
) -> None:
    before = set(threading.enumerate())

    async def scene() -> None:
        opened = await aiosqlite.connect(database)
        with pytest.raises(sqlite3.OperationalError):
            await aiosqlite.connect(tmp_path / "nowhere" / "some.db")
        opened.stop()

    run(scene)
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert [thread for thread in left if thread.is_alive()] == []
