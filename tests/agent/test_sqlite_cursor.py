"""SQLite by way of one piece of work a statement: fewer ways to the thread, the same answers."""

import asyncio
import sqlite3
import threading
from functools import partial
from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent import sqlite_cursor
from agent.database import WRITES, is_passing, open_engine
from agent.one_trip import Run, Transactions

pytestmark = pytest.mark.parametrize("database_server", ["sqlite"], indirect=True)

INSERT = text("INSERT INTO placements (at) VALUES (:at)")
TWICE = [{"at": "2026-01-01 10:00:00.000000"}, {"at": "2026-01-02 10:00:00.000000"}]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every piece of work that a connection's thread is given."""
    given: list[object] = []
    execute = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, *what: object, **more: object) -> object:
        given.append(what)
        return await execute(self, *what, **more)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    return given


async def test_a_statement_is_one_way_there_and_back(engine: AsyncEngine, ways: list[object]):
    async with engine.connect() as connection:
        for statement, values in [(text("SELECT 1"), None), (INSERT, TWICE[0]), (INSERT, TWICE)]:
            ways.clear()
            await connection.execute(statement, values)
            assert len(ways) == 1
        ways.clear()
        await connection.commit()
        assert len(ways) == 1


async def test_rows_come_with_their_names_and_counts(engine: AsyncEngine):
    async with engine.begin() as connection:
        written = await connection.execute(INSERT, TWICE)
        assert written.rowcount == 2
        found = await connection.execute(text("SELECT id AS number, at FROM placements"))
        assert list(found.keys()) == ["number", "at"]
        assert [row.number for row in found] == [1, 2]
        changed = await connection.execute(
            text("UPDATE placements SET at = at WHERE id > 1 RETURNING id")
        )
        assert changed.scalars().all() == [2]
        none = await connection.execute(text("SELECT id FROM placements WHERE id = 9"))
        assert (list(none.keys()), none.first()) == (["id"], None)


async def test_errors_are_those_of_the_database(engine: AsyncEngine):
    async with engine.connect() as connection:
        with pytest.raises(OperationalError, match="no such table"):
            await connection.execute(text("SELECT 1 FROM nowhere"))
        with pytest.raises(IntegrityError, match="NOT NULL"):
            await connection.execute(INSERT, {"at": None})
        # The connection is as good as before.
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1


async def test_what_is_rolled_back_was_never_there(engine: AsyncEngine):
    async with engine.connect() as connection:
        await connection.execute(INSERT, TWICE)
        await connection.rollback()
        assert (await connection.execute(text("SELECT count(*) FROM placements"))).scalar() == 0


async def test_the_lock_is_there_from_the_first_statement_on(database_url: str):
    one, other = open_engine(database_url), open_engine(database_url)
    try:
        async with (
            one.execution_options(**{WRITES: True}).begin() as writing,
            other.connect() as reading,
        ):
            await writing.execute(text("SELECT 1"))
            await reading.execute(text("PRAGMA busy_timeout = 0"))
            with pytest.raises(OperationalError, match="locked"):
                await reading.execute(INSERT, TWICE[0])
            await reading.rollback()
            await writing.execute(INSERT, TWICE[0])
        async with other.connect() as reading:
            count = await reading.execute(text("SELECT count(*) FROM placements"))
            assert count.scalar() == 1
    finally:
        await one.dispose()
        await other.dispose()


async def test_a_connection_that_is_closed_says_so(engine: AsyncEngine):
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert isinstance(driver, aiosqlite.Connection)
        await driver.close()
        with pytest.raises(OperationalError, match=r"(?i)connection"):
            await connection.execute(text("SELECT 1"))
        await connection.invalidate()


async def test_a_transaction_is_one_way_there_and_back(engine: AsyncEngine, ways: list[object]):
    transactions = Transactions(engine)

    def keep(run: Run) -> int:
        run(INSERT, TWICE)
        run(INSERT, TWICE[0])
        return len(run(text("SELECT id FROM placements")))

    assert await transactions.run(keep) == 3
    ways.clear()
    assert await transactions.run(keep) == 6
    assert len(ways) == 1


async def test_a_transaction_that_raises_was_never_there(engine: AsyncEngine):
    transactions = Transactions(engine)

    def refuse(run: Run) -> None:
        run(INSERT, TWICE)
        raise LookupError("never mind")

    with pytest.raises(LookupError, match="never mind"):
        await transactions.run(refuse)
    with pytest.raises(IntegrityError, match="NOT NULL"):
        await transactions.run(lambda run: run(INSERT, {"at": None}))
    counted = await transactions.run(lambda run: run(text("SELECT count(*) FROM placements")))
    assert counted == [(0,)]


async def test_a_pool_of_one_is_left_to_its_readers(database_url: str):
    engine = open_engine(database_url, pool_size=1)
    try:
        await Transactions(engine).run(lambda run: run(INSERT, TWICE))
        async with asyncio.timeout(5), engine.connect() as connection:
            count = await connection.execute(text("SELECT count(*) FROM placements"))
            assert count.scalar() == 2
    finally:
        await engine.dispose()


async def test_transactions_at_once_go_by_one_connection_in_their_order(database_url: str):
    before = set(threading.enumerate())
    engine = open_engine(database_url)
    transactions = Transactions(engine)
    done: list[int] = []

    def keep(number: int, run: Run) -> None:
        run(INSERT, TWICE)
        done.append(number)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(transactions.run(partial(keep, number)))
        assert done == list(range(50))
        assert len(set(threading.enumerate()) - before) == 1
    finally:
        await engine.dispose()


async def test_readers_have_the_pool_while_another_process_keeps_the_lock(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_cursor, "PATIENCE_SECS", 1.5)
    engine = open_engine(database_url)
    transactions = Transactions(engine)
    locking = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    try:
        locking.execute("BEGIN IMMEDIATE")
        keep = partial(transactions.run, lambda run: run(INSERT, TWICE))
        waiting = [asyncio.create_task(keep()) for _ in range(12)]
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        assert not any(each.done() for each in waiting)
        # All have waited as long by then: no one's patience begins when another's is over.
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(failure) for failure in failures] == [OperationalError] * 12
        assert ["others were waiting" in str(failure) for failure in failures].count(False) == 1
        locking.execute("ROLLBACK")
        await keep()
    finally:
        locking.close()
        await engine.dispose()


async def test_after_the_writers_connection_was_closed_there_is_another(engine: AsyncEngine):
    transactions = Transactions(engine)
    await transactions.run(lambda run: run(INSERT, TWICE))
    pooled = transactions._sqlite._writer if transactions._sqlite else None
    assert pooled is not None
    assert isinstance(pooled.driver_connection, aiosqlite.Connection)
    await pooled.driver_connection.close()
    with pytest.raises(OperationalError, match="closed"):
        await transactions.run(lambda run: run(INSERT, TWICE))
    await transactions.run(lambda run: run(INSERT, TWICE))


async def test_a_connection_that_cannot_be_opened_leaves_no_thread_behind(
    database_url: str, tmp_path: Path
):
    before = set(threading.enumerate())
    nowhere = make_url(database_url).set(database=str(tmp_path / "nowhere" / "calls.db"))
    unable = open_engine(nowhere.render_as_string(hide_password=False))
    for _ in range(20):
        with pytest.raises(OperationalError, match="unable to open"):
            await unable.connect()
        assert set(threading.enumerate()) == before
    await unable.dispose()


@pytest.mark.parametrize("pool_size", [1, 5])
async def test_a_connection_that_cannot_be_opened_is_an_error_of_the_database(
    database_url: str, tmp_path: Path, pool_size: int
):
    later = make_url(database_url).set(database=str(tmp_path / "later" / "calls.db"))
    engine = open_engine(later.render_as_string(hide_password=False), pool_size)
    transactions = Transactions(engine)
    try:
        with pytest.raises(OperationalError, match="unable to open") as failed:
            await transactions.run(lambda run: run(text("SELECT 1")))
        assert is_passing(failed.value)
        (tmp_path / "later").mkdir()
        assert await transactions.run(lambda run: run(text("SELECT 1"))) == [(1,)]
    finally:
        await engine.dispose()


def test_an_engine_that_was_disposed_of_serves_another_loop(database_url: str):
    engine = open_engine(database_url)
    transactions = Transactions(engine)

    async def several_at_once() -> None:
        try:
            selecting = [transactions.run(lambda run: run(text("SELECT 1"))) for _ in range(3)]
            assert await asyncio.gather(*selecting) == [[(1,)]] * 3
        finally:
            await engine.dispose()

    asyncio.run(several_at_once())
    asyncio.run(several_at_once())


async def test_the_writers_connection_is_closed_with_the_engine(database_url: str):
    before = set(threading.enumerate())
    engine = open_engine(database_url)
    await Transactions(engine).run(lambda run: run(INSERT, TWICE))
    (thread,) = set(threading.enumerate()) - before
    await engine.dispose()
    thread.join(timeout=5)
    assert not thread.is_alive()
