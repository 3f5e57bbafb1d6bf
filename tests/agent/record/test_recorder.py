"""The record is written behind: in order, all of it, through outages, without holding up a call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.lifecycle.statuses import Speaker
from agent.ports import SpokenTurn, TokenCount
from agent.record.call_log import CallLog, Progress, Row
from agent.record.models import Call
from agent.record.recorder import RecordWriter

MakeCall = Callable[..., Call]


class Database(CallLog):
    """The real record, whose database can be away."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.there = asyncio.Event()
        self.there.set()
        self.tried = asyncio.Event()
        self.batches: list[int] = []

    async def write(self, rows: Sequence[Row], progress: Progress | None = None) -> int:
        self.tried.set()
        if not self.there.is_set():
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        self.batches.append(len(rows))
        return await super().write(rows, progress)


@pytest.fixture
def database(engine: AsyncEngine) -> Database:
    return Database(engine)


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[RecordWriter]:
    writer = RecordWriter(database, events_at_most=5)
    writer.start()
    yield writer
    database.there.set()
    await writer.close()


def turn(text: str, start_ms: int = 0) -> SpokenTurn:
    return SpokenTurn(Speaker.AGENT, text, start_ms, start_ms + 100)


async def test_everything_of_a_call_is_there_after_a_flush(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    call = await database.create(a_call())
    record = writer.recorder(call.id)
    record.turn(SpokenTurn(Speaker.CALLER, "hello", 120, 480))
    record.turn(SpokenTurn(Speaker.AGENT, "hi th", 600, 900, interrupted=True))
    record.event("tool.called", {"tool": "hang_up"})
    record.event("stream.ended")
    record.usage([TokenCount("input", "audio", 12), TokenCount("output", "text", 3)])
    await writer.flush(call.id)
    first, second = await database.transcript(call.id)
    assert (first.who, first.text, first.start_ms, first.end_ms) == ("caller", "hello", 120, 480)
    assert (second.text, second.interrupted) == ("hi th", True)
    events = await database.events(call.id)
    assert [(e.kind, e.detail) for e in events] == [
        ("tool.called", {"tool": "hang_up"}),
        ("stream.ended", {}),
    ]
    usage = await database.usage(call.id)
    assert [(u.direction, u.modality, u.tokens) for u in usage] == [
        ("input", "audio", 12),
        ("output", "text", 3),
    ]
    assert database.batches == [6]


async def test_it_is_written_without_being_asked(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    call = await database.create(a_call())
    writer.recorder(call.id).turn(turn("hi"))
    await database.tried.wait()
    await writer.flush(call.id)
    assert [kept.text for kept in await database.transcript(call.id)] == ["hi"]


async def test_a_flush_with_nothing_to_write_does_not_wait(
    writer: RecordWriter, database: Database
):
    await writer.flush("never seen")
    assert database.batches == []


async def test_an_outage_loses_nothing_and_keeps_the_order(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    call = await database.create(a_call())
    record = writer.recorder(call.id)
    database.there.clear()
    database.tried.clear()
    record.turn(turn("0", 0))
    await database.tried.wait()
    for n in range(1, 20):
        record.turn(turn(str(n), 0))
    database.there.set()
    await writer.flush(call.id)
    assert [t.text for t in await database.transcript(call.id)] == [str(n) for n in range(20)]
    assert writer.refused == 0


async def test_a_call_with_too_many_events_loses_events_but_no_turn_and_no_other_calls(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    loud, quiet = await database.create(a_call()), await database.create(a_call())
    database.there.clear()
    for n in range(50):
        writer.recorder(loud.id).event(f"noise.{n}")
        writer.recorder(loud.id).turn(turn(str(n)))
    writer.recorder(quiet.id).event("heard")
    database.there.set()
    await writer.flush(loud.id)
    await writer.flush(quiet.id)
    assert len(await database.transcript(loud.id)) == 50
    kept = [event.kind for event in await database.events(loud.id)]
    assert kept == [f"noise.{n}" for n in range(len(kept))]
    assert writer.dropped == 50 - len(kept) > 0
    assert [event.kind for event in await database.events(quiet.id)] == ["heard"]


async def test_a_row_that_the_database_refuses_does_not_take_others_with_it(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    call = await database.create(a_call())
    record = writer.recorder(call.id)
    record.event("good.before")
    record.event("bad", {"not json": object()})
    record.usage([TokenCount("input", "audio", 2**70)])
    record.event("good.after")
    await writer.flush(call.id)
    events = await database.events(call.id)
    assert [event.kind for event in events] == ["good.before", "good.after"]
    assert await database.usage(call.id) == []
    assert writer.refused == 2


async def test_closing_writes_what_waits(database: Database, a_call: MakeCall):
    call = await database.create(a_call())
    writer = RecordWriter(database)
    writer.start()
    for n in range(1200):
        writer.recorder(call.id).turn(turn(str(n)))
    await writer.close()
    assert len(await database.transcript(call.id)) == 1200
    assert max(database.batches) < 1200


async def test_closing_does_not_wait_for_ever(database: Database, a_call: MakeCall):
    call = await database.create(a_call())
    writer = RecordWriter(database)
    writer.start()
    database.there.clear()
    writer.recorder(call.id).turn(turn("lost"))
    waiting = asyncio.create_task(writer.flush(call.id))
    await database.tried.wait()
    await writer.close(timeout=0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    database.there.set()
    assert await database.transcript(call.id) == []


async def test_a_deleted_calls_late_rows_go_nowhere(
    writer: RecordWriter, database: Database, a_call: MakeCall
):
    call = await database.create(a_call())
    writer.recorder("deleted").turn(turn("late"))
    writer.recorder(call.id).turn(turn("kept"))
    await writer.flush("deleted")
    await writer.flush(call.id)
    assert [t.text for t in await database.transcript(call.id)] == ["kept"]
