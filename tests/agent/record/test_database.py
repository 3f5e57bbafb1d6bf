"""The engines of a database: who waits for whom, what a cancelled write leaves, what stays open."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.record import database
from agent.record.call_log import CallLog
from agent.record.database import DatabaseUnavailable, is_transient, open_engine, writing_engine
from agent.record.models import Call, CallEvent

MakeCall = Callable[..., Call]

on_sqlite = pytest.mark.parametrize("database_server", ["sqlite"], indirect=True)
INSERT = text("INSERT INTO placements (at) VALUES ('2026-01-01 10:00:00.000000')")
COUNT = text("SELECT count(*) FROM placements")


@pytest.fixture
def locked(database_url: str) -> Iterator[sqlite3.Connection]:
    """Another process's connection to the SQLite file, which holds the lock until it rolls back."""
    other = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


@pytest.fixture
async def threads() -> AsyncIterator[set[threading.Thread]]:
    """The threads from before; at the end there are no others."""
    before = set(threading.enumerate())
    yield before
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(5)
    assert [thread for thread in left if thread.is_alive()] == []


@on_sqlite
async def test_a_writer_has_the_lock_from_its_begin(engine: AsyncEngine, database_url: str):
    other = sqlite3.connect(make_url(database_url).database or "", timeout=0, isolation_level=None)
    async with writing_engine(engine).begin() as writing:
        await writing.execute(COUNT)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        await writing.execute(INSERT)
        # Who reads does not wait, and sees what was committed.
        async with engine.connect() as reading:
            assert (await reading.execute(COUNT)).scalar() == 0
    other.execute("BEGIN IMMEDIATE")
    other.close()
    async with engine.connect() as reading:
        assert (await reading.execute(COUNT)).scalar() == 1


@on_sqlite
async def test_each_connection_keeps_references_and_a_log_ahead(engine: AsyncEngine):
    for one in (engine, writing_engine(engine)):
        async with one.connect() as connection:
            for pragma, value in [
                ("journal_mode", "wal"),
                ("foreign_keys", 1),
                ("synchronous", 1),
                ("busy_timeout", 10_000),
            ]:
                assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value
            with pytest.raises(IntegrityError, match="FOREIGN KEY"):
                await connection.execute(
                    text(
                        "INSERT INTO token_usage (call_id, at, direction, modality, tokens)"
                        " VALUES ('none', '2026-01-01 10:00:00.000000', '', '', 1)"
                    )
                )


async def test_postgresql_is_read_and_written_by_one_engine():
    engine = open_engine("postgresql+asyncpg://postgres@/x?host=/nowhere")
    assert writing_engine(engine) is engine
    await engine.dispose()


@on_sqlite
@pytest.mark.parametrize("pool_size", [1, 5])
async def test_readers_go_on_while_writers_wait_for_another_process(
    database_url: str,
    locked: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    a_call: MakeCall,
    pool_size: int,
):
    monkeypatch.setattr(database, "TIMEOUT_SECS", 1.5)
    engine = open_engine(database_url, pool_size)
    call_log = CallLog(engine)
    waiting = [asyncio.create_task(call_log.create(a_call())) for _ in range(12)]
    for _ in range(20):
        assert (await call_log.list()).calls == []
    assert not any(each.done() for each in waiting)
    # The one that has the connection waits for the lock, and the others for the connection.
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(failure) for failure in failures] == [DatabaseUnavailable] * 12
    locked.close()
    call = await call_log.create(a_call())
    assert [kept.id for kept in (await call_log.list()).calls] == [call.id]
    await engine.dispose()


async def test_a_cancelled_write_is_kept_whole_or_not_at_all(
    engine: AsyncEngine, call_log: CallLog, a_call: MakeCall
):
    """Cancelled after each number of turns of the loop, while others go on."""
    halves = text(
        "SELECT count(*) FROM calls WHERE 3 <>"
        " (SELECT count(*) FROM call_events WHERE call_events.call_id = calls.id)"
    )

    def create(call: Call) -> asyncio.Task[Call]:
        events = [CallEvent(call_id=call.id, kind="x") for _ in range(3)]
        return asyncio.create_task(call_log.create(call, events))

    cancelled = []
    for turns in range(1000):
        cancelled.append(a_call())
        task = create(cancelled[-1])
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.cancel():
            break
        async with engine.connect() as connection:
            assert (await connection.execute(halves)).scalar() == 0
        assert await create(a_call())
        assert task.cancelled()
    await asyncio.gather(*call_log.writes)
    async with engine.connect() as connection:
        assert (await connection.execute(halves)).scalar() == 0
        placed = (await connection.execute(COUNT)).scalar()
        kept = set((await connection.execute(text("SELECT id FROM calls"))).scalars())
    assert placed == len(kept)
    # The first was cancelled before it began.
    assert [call.id in kept for call in cancelled] == [False] + [True] * turns


@on_sqlite
async def test_who_waits_for_the_lock_can_be_cancelled_at_once(
    call_log: CallLog, locked: sqlite3.Connection, a_call: MakeCall
):
    calls = [a_call() for _ in range(3)]
    waiting = [asyncio.create_task(call_log.create(call)) for call in calls]
    await asyncio.sleep(0.1)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(each.cancelled() for each in waiting)
    assert (await call_log.list()).calls == []
    locked.rollback()
    last = await call_log.create(a_call())
    kept = {call.id for call in (await call_log.list()).calls}
    assert kept == {last.id, *(call.id for call in calls)}


@on_sqlite
@pytest.mark.parametrize("found", ["no folder", "a folder", "no database"])
async def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(
    threads: set[threading.Thread], database_url: str, tmp_path: Path, found: str
):
    path = tmp_path / "other" / "calls.db"
    if found == "a folder":
        path.mkdir(parents=True)
    elif found == "no database":
        path.parent.mkdir()
        path.write_text("This is no database, and never was one. " * 100)
    other = make_url(database_url).set(database=str(path))
    engine = open_engine(other.render_as_string(hide_password=False))
    for _ in range(10):
        for one in (engine, writing_engine(engine)):
            with pytest.raises(Exception, match=r"unable to open|not a database"):
                await one.connect()
            if found != "no database":
                # None that was not there before; of those, some may have ended meanwhile.
                assert set(threading.enumerate()) - threads == set()
    await engine.dispose()


@on_sqlite
async def test_a_file_that_cannot_be_opened_yet_is_tried_again(database_url: str, tmp_path: Path):
    later = make_url(database_url).set(database=str(tmp_path / "later" / "calls.db"))
    engine = open_engine(later.render_as_string(hide_password=False))
    for one in (engine, writing_engine(engine)):
        with pytest.raises(OperationalError, match="unable to open") as failed:
            await one.connect()
        assert is_transient(failed.value)
    (tmp_path / "later").mkdir()
    async with writing_engine(engine).begin() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    await engine.dispose()


@on_sqlite
async def test_disposing_of_the_engine_closes_its_writers(
    threads: set[threading.Thread], database_url: str, a_call: MakeCall
):
    engine = open_engine(database_url)
    await asyncio.gather(*(CallLog(engine).create(a_call()) for _ in range(3)))
    await CallLog(engine).list()
    assert len(set(threading.enumerate()) - threads) == 4
    await engine.dispose()


@on_sqlite
def test_an_engine_that_was_disposed_of_serves_another_loop(database_url: str, a_call: MakeCall):
    engine = open_engine(database_url)
    call_log = CallLog(engine)

    async def several_at_once() -> list[int]:
        written = await asyncio.gather(*(call_log.create(a_call()) for _ in range(3)))
        found = len((await call_log.list()).calls)
        await engine.dispose()
        return [len(written), found]

    assert asyncio.run(several_at_once()) == [3, 3]
    assert asyncio.run(several_at_once()) == [3, 6]
