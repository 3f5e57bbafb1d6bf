"""Rows that wait for the database are on disk, and are written by the process that comes next."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from loguru import logger

from agent.lifecycle.statuses import Speaker
from agent.ports import TokenCount
from agent.record.models import CallEvent, TokenUsage, Turn, now_utc
from agent.record.recorder import RecordWriter
from agent.record.spool import LeftOver, RecordSpool
from tests.agent.record.test_recorder import Database, MakeCall, database, turn

__all__ = ["database"]


def a_turn(text: str) -> Turn:
    return Turn(call_id="c1", who=Speaker.AGENT, text=text, start_ms=0, end_ms=1)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def texts(spool: RecordSpool) -> list[list[str]]:
    return [[row.text for row in left.rows if isinstance(row, Turn)] for left in spool.left_over()]


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        Turn(call_id="c1", who=Speaker.CALLER, text="Zoë\x00\ud83d\nsays", start_ms=3, end_ms=9),
        CallEvent(call_id="c2", kind="tool.called", detail={"who": "Zoë", "n": [1, None]}),
        CallEvent(call_id="c2", kind="bad", detail={"not json": object()}),
        TokenUsage(call_id="c1", at=now_utc(), direction="input", modality="audio", tokens=2**40),
    ]
    spool = RecordSpool(tmp_path / "spool")
    spool.keep(rows)
    assert spool.kept == 4
    assert spool.left_over() == [], "it is a living process's"
    spool.close()
    (left,) = RecordSpool(tmp_path / "spool").left_over()
    assert [row.model_dump() for row in left.rows] == [
        row.model_dump() for row in (rows[0], rows[1], rows[3])
    ]
    assert [path.stat().st_mode & 0o777 for path in (tmp_path, *tmp_path.rglob("*"))][1:] == [
        0o700,
        0o600,
    ]


def test_only_what_is_not_written_yet_is_left_over(tmp_path: Path) -> None:
    rows = [a_turn(str(n)) for n in range(5)]
    spool = RecordSpool(tmp_path)
    spool.keep(rows[:2])
    spool.keep(rows)
    spool.written(3)
    assert spool.kept == 2
    spool.keep([*rows[3:], a_turn("5")])
    spool.close()
    assert texts(RecordSpool(tmp_path)) == [["3", "4", "5"]]


def test_nothing_is_left_when_all_is_written(tmp_path: Path) -> None:
    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("a"), a_turn("b")])
    spool.written(5)
    assert list(tmp_path.iterdir()) == []
    spool.keep([a_turn("c")])
    spool.close()
    assert texts(RecordSpool(tmp_path)) == [["c"]]


def test_a_file_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("whole"), a_turn("cut")])
    spool.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert texts(RecordSpool(tmp_path)) == [["whole"]]


def test_a_file_is_bounded_and_takes_more_when_it_is_new(tmp_path: Path) -> None:
    spool = RecordSpool(tmp_path, most_bytes=250)
    spool.keep([a_turn(str(n)) for n in range(9)])
    assert 1 <= spool.kept < 9
    spool.written(9)
    spool.keep([a_turn("again")])
    assert spool.kept == 1


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    sink = logger.add(lambda line: said.append(str(line)), level="ERROR")
    spool = RecordSpool(tmp_path / "file" / "spool")
    spool.keep([a_turn("a")])
    spool.keep([a_turn("a")])
    logger.remove(sink)
    assert spool.kept == 0
    assert len(said) == 1


@pytest.mark.parametrize("failing", ["is_dir", "glob"])
def test_a_folder_that_cannot_be_read_has_nothing_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Otherwise nothing would be recorded at all."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, failing, refuse)
    assert RecordSpool(tmp_path).left_over() == []


def interrupt_flock(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], object]) -> None:
    """Have something happen between the next opening of a file and its lock."""
    flock, todo = fcntl.flock, [interrupt]

    def interrupted(file: int, operation: int) -> None:
        while todo:
            todo.pop()()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", interrupted)


def test_a_file_that_another_process_has_written_meanwhile_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = RecordSpool(tmp_path)
    dead.keep([a_turn("once")])
    dead.close()
    found: list[LeftOver] = []

    def faster() -> None:
        found.extend(RecordSpool(tmp_path).left_over())
        for left in found:
            left.done()

    interrupt_flock(monkeypatch, faster)
    assert RecordSpool(tmp_path).left_over() == []
    assert len(found) == 1


@pytest.mark.parametrize("is_done", [True, False])
def test_a_new_file_that_another_process_takes_for_left_over_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    def takes_it() -> None:
        taken.extend(RecordSpool(tmp_path).left_over())
        if is_done:
            taken[0].done()

    taken: list[LeftOver] = []
    interrupt_flock(monkeypatch, takes_it)
    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("kept")])
    assert (spool.kept, len(taken)) == (0, 1)
    spool.keep([a_turn("kept")])
    if not is_done:
        taken[0].done()
    spool.close()
    assert texts(RecordSpool(tmp_path)) == [["kept"]]


def test_what_the_disk_does_not_confirm_is_not_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        monkeypatch.undo()
        raise OSError("the disk fails")

    monkeypatch.setattr(os, "fsync", fail)
    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("a")])
    assert spool.kept == 0
    spool.keep([a_turn("a"), a_turn("b")])
    spool.written(1)
    spool.close()
    assert texts(RecordSpool(tmp_path)) == [["b"]]


def test_rows_are_numbered_as_they_were_put_after_a_disk_that_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = RecordSpool(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda *_: 0)
        spool.keep([a_turn("0"), a_turn("1")])
    # They were never on disk; those behind them are.
    spool.written(2)
    spool.keep([a_turn("2")], 2)
    spool.close()
    (left,) = RecordSpool(tmp_path).left_over()
    assert (left.numbers, [path.stem.split("-")[1] for path in tmp_path.iterdir()]) == ([2], ["2"])


def test_a_file_that_cannot_be_deleted_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("0")])
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        spool.written(1)
    spool.keep([a_turn("1")], 1)
    spool.close()
    left = RecordSpool(tmp_path).left_over()
    assert sorted(each.numbers for each in left) == [[0], [1]]


async def killed(writer: RecordWriter, spool: RecordSpool) -> None:
    """The process is killed: nothing is tidied up, and its lock goes with it."""
    assert writer._task is not None
    writer._task.cancel()
    await asyncio.gather(writer._task, return_exceptions=True)
    spool.close()


async def test_rows_survive_a_process_that_dies_while_the_database_is_away(
    database: Database, a_call: MakeCall, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    call = await database.create(a_call())
    spool = RecordSpool(folder)
    writer = RecordWriter(database, spool=spool)
    writer.start()
    database.there.clear()
    database.tried.clear()
    record = writer.recorder(call.id)
    record.turn(turn("first"))
    await database.tried.wait()
    record.turn(turn("second", 200))
    record.usage([TokenCount("input", "audio", 7)])
    async with asyncio.timeout(5):
        while spool.kept < 3:  # noqa: ASYNC110 - a thread writes them
            await asyncio.sleep(0.01)
    await killed(writer, spool)

    database.there.set()
    following = RecordWriter(database, spool=RecordSpool(folder))
    following.start()
    following.recorder(call.id).turn(turn("third", 400))
    await following.flush(call.id)
    assert [t.text for t in await database.transcript(call.id)] == ["first", "second", "third"]
    assert [usage.tokens for usage in await database.usage(call.id)] == [7]
    assert files(folder) == []
    await following.close()
    await writer.close(timeout=0)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_process_that_stops_while_the_database_is_away_loses_nothing(
    database: Database, a_call: MakeCall, tmp_path: Path, comes_back: bool
) -> None:
    folder = tmp_path / "spool"
    call = await database.create(a_call())
    writer = RecordWriter(database, spool=RecordSpool(folder))
    writer.start()
    database.there.clear()
    database.tried.clear()
    writer.recorder(call.id).turn(turn("kept"))
    await database.tried.wait()
    if comes_back:
        database.there.set()
    await writer.close(timeout=10 if comes_back else 0)
    database.there.set()
    following = RecordWriter(database, spool=RecordSpool(folder))
    following.start()
    await following.close()
    assert [t.text for t in await database.transcript(call.id)] == ["kept"]
    assert files(folder) == []


async def test_what_was_written_just_before_the_process_died_is_not_written_again(
    database: Database, a_call: MakeCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in the database, and on disk still."""
    folder = tmp_path / "spool"
    call = await database.create(a_call())
    spool = RecordSpool(folder)
    writer = RecordWriter(database, spool=spool)
    writer.start()
    writer.recorder(call.id).turn(turn("before"))
    await writer.flush(call.id)
    database.there.clear()
    database.tried.clear()
    writer.recorder(call.id).turn(turn("kept", 200))
    await database.tried.wait()
    async with asyncio.timeout(5):
        while spool.kept < 1:  # noqa: ASYNC110 - a thread writes them
            await asyncio.sleep(0.01)
    written = asyncio.Event()

    monkeypatch.setattr(spool, "written", lambda _count: written.set())
    database.there.set()
    await written.wait()
    await killed(writer, spool)

    following = RecordWriter(database, spool=RecordSpool(folder))
    following.start()
    following.recorder(call.id).turn(turn("after", 400))
    await following.flush(call.id)
    assert [t.text for t in await database.transcript(call.id)] == ["before", "kept", "after"]
    assert files(folder) == []
    assert await database.written_by(spool.writer) == 0, "it is forgotten"
    await following.close()


async def dies_behind_a_batch(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process writes the first batch of what is left over, and is killed."""
    spool = RecordSpool(folder)
    left = spool.left_over()
    monkeypatch.setattr(spool, "left_over", lambda: left)
    before = len(database.batches)
    writer = RecordWriter(database, spool=spool)
    writer.start()
    async with asyncio.timeout(5):
        while len(database.batches) == before:  # noqa: ASYNC110 (a database tells nobody)
            await asyncio.sleep(0)
    database.there.clear()
    await asyncio.gather(*database.writes)
    await killed(writer, spool)
    for each in left:
        os.close(each._file)
    database.there.set()


async def test_what_is_left_over_is_written_once_however_often_the_process_dies(
    database: Database, a_call: MakeCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.record.recorder._BATCH_ROWS", 2)
    folder = tmp_path / "spool"
    call = await database.create(a_call())
    dead = RecordSpool(folder)
    turns = [
        Turn(call_id=call.id, who=Speaker.AGENT, text=str(n), start_ms=n, end_ms=n)
        for n in range(5)
    ]
    dead.keep(turns, 7)
    dead.close()
    for _ in range(2):
        await dies_behind_a_batch(database, folder, monkeypatch)
    following = RecordWriter(database, spool=RecordSpool(folder))
    following.start()
    await following.close()
    assert [t.text for t in await database.transcript(call.id)] == ["0", "1", "2", "3", "4"]
    assert files(folder) == []


async def test_files_that_cannot_be_deleted_are_written_once(
    database: Database, a_call: MakeCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    folder = tmp_path / "spool"
    call = await database.create(a_call())
    turns = [
        Turn(call_id=call.id, who=Speaker.AGENT, text=str(n), start_ms=n, end_ms=n)
        for n in range(2)
    ]
    dead = RecordSpool(folder)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        for number, row in enumerate(turns):
            dead.keep([row], number)
            dead.written(1)
        assert (dead.stays, len(files(folder))) == (True, 2)
        for _ in range(2):
            following = RecordWriter(database, spool=RecordSpool(folder))
            following.start()
            await following.close()
    assert [t.text for t in await database.transcript(call.id)] == ["0", "1"]


def test_a_file_of_an_earlier_version_is_written_whole(tmp_path: Path) -> None:
    spool = RecordSpool(tmp_path)
    spool.keep([a_turn("a")])
    spool.close()
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / f"{'a' * 32}.jsonl")
    (left,) = RecordSpool(tmp_path).left_over()
    assert (left.writer, left.numbers) == (None, [0])
