"""The record, on a real SQLite file and a real PostgreSQL server."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.lifecycle.state import CallState, new_call
from agent.lifecycle.statuses import CallStatus, Direction, EndReason, Speaker
from agent.record.call_log import (
    BadCursor,
    CallIsLive,
    CallLog,
    DailyLimitReached,
    DatabaseUnavailable,
    IdempotencyConflict,
    NoSuchCall,
)
from agent.record.decision import LifeDecision
from agent.record.models import Call, CallEvent, TokenUsage, Turn

MakeCall = Callable[..., Call]
# A moment, and an id with a NUL in it, which PostgreSQL would take for an error of ours.
NUL_CURSOR = base64.urlsafe_b64encode(b'["2026-03-01T12:00:00+00:00", "\\u0000"]').decode()
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def ended_state() -> CallState:
    return replace(
        new_call(Direction.OUTBOUND),
        status=CallStatus.COMPLETED,
        end_reason=EndReason.AGENT,
        twilio_sid="CA1",
        answered_at=NOON.timestamp(),
        ended_at=NOON.timestamp() + 30,
    )


def decision(before: CallState, state: CallState, *events: CallEvent) -> LifeDecision:
    return LifeDecision(before, state, (), events)


async def test_a_call_comes_back_as_it_was_kept(call_log: CallLog, a_call: MakeCall):
    call = a_call(profile={"voice": "Puck"}, extra={"order": 7}, created_at=NOON)
    await call_log.create(call)
    found = await call_log.get(call.id)
    assert found.model_dump() == call.model_dump()
    assert found.status is CallStatus.INITIATED
    assert found.created_at.tzinfo is not None


async def test_moments_of_other_zones_are_kept_in_utc(call_log: CallLog, a_call: MakeCall):
    eastern = timezone(timedelta(hours=-5))
    call = await call_log.create(a_call(created_at=NOON.astimezone(eastern)))
    assert (await call_log.get(call.id)).created_at.isoformat() == NOON.isoformat()
    assert (await call_log.list(since=NOON.astimezone(eastern))).calls[0].id == call.id


async def test_an_unknown_call(call_log: CallLog):
    with pytest.raises(NoSuchCall):
        await call_log.get("none")
    with pytest.raises(NoSuchCall):
        await call_log.save_life("none", ended_state())
    with pytest.raises(NoSuchCall):
        await call_log.delete("none")
    for read in (call_log.transcript, call_log.events, call_log.usage):
        with pytest.raises(NoSuchCall):
            await read("none")
    assert await call_log.find_by_sid("CA404") is None


async def test_the_same_request_again_is_the_same_call(call_log: CallLog, a_call: MakeCall):
    first = await call_log.create(a_call(idempotency_key="k", request_fingerprint="f"))
    again = await call_log.create(a_call(idempotency_key="k", request_fingerprint="f"))
    assert again.id == first.id
    with pytest.raises(IdempotencyConflict):
        await call_log.create(a_call(idempotency_key="k", request_fingerprint="other"))
    assert len((await call_log.list()).calls) == 1


async def test_the_same_request_many_times_at_once_is_one_call(call_log: CallLog, a_call: MakeCall):
    calls = [a_call(idempotency_key="k", request_fingerprint="f") for _ in range(12)]
    kept = await asyncio.gather(*(call_log.create(call) for call in calls))
    assert len({call.id for call in kept}) == 1


async def test_a_life_is_kept_with_what_to_query_it_by(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    state = ended_state()
    event = CallEvent(call_id=call.id, kind="life.status", detail={"status": "completed"})
    await call_log.save_life(call.id, state, [event])
    found = await call_log.get(call.id)
    assert CallState.from_json(found.life) == state
    assert (found.status, found.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)
    assert (found.answered_at, found.ended_at) == (NOON, NOON + timedelta(seconds=30))
    assert (await call_log.find_by_sid("CA1")) == found
    assert [e.detail for e in await call_log.events(call.id)] == [{"status": "completed"}]


async def test_a_life_goes_on_from_what_is_kept(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    before = new_call(Direction.OUTBOUND)
    await call_log.save_life(call.id, before)
    for revision, changes in enumerate(
        (
            {"status": CallStatus.RINGING, "twilio_sid": "CA1"},
            {"stream_sid": "MZ1", "look_ups": 3},
            {"status": CallStatus.IN_PROGRESS, "answered_at": NOON.timestamp()},
            {"error": "x" * 2000, "end_reason": EndReason.SYSTEM},
            {"status": CallStatus.COMPLETED, "ended_at": NOON.timestamp(), "error": None},
        ),
        start=2,
    ):
        state = replace(before, **changes)
        made = decision(before, state, CallEvent(call_id=call.id, kind="x"))
        seen: list[CallState] = []

        def decide(call: Call) -> LifeDecision:
            seen.append(CallState.from_json(call.life))  # noqa: B023
            return made  # noqa: B023

        kept, given = await call_log.change_life(call.id, decide)
        assert (seen, given, kept.revision) == ([before], made, revision)
        found = await call_log.get(call.id)
        assert found.model_dump() == kept.model_dump()
        before = state
        assert CallState.from_json(found.life) == before
        assert (found.status, found.end_reason) == (before.status, before.end_reason)
        assert found.error == (before.error and before.error[:1000])
    assert len(await call_log.events(call.id)) == 5


async def test_a_life_that_does_not_go_on_is_left_alone(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    call = await call_log.save_life(call.id, new_call(Direction.OUTBOUND))
    same = decision(new_call(Direction.OUTBOUND), ended_state())
    kept, _ = await call_log.change_life(call.id, lambda _: same)
    assert kept.model_dump() == call.model_dump()
    assert (await call_log.get(call.id)).model_dump() == call.model_dump()


async def test_decisions_at_once_each_see_the_one_before(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    await call_log.save_life(call.id, new_call(Direction.OUTBOUND))

    def one_more(kept: Call) -> LifeDecision:
        before = CallState.from_json(kept.life)
        event = CallEvent(call_id=call.id, kind="x")
        return decision(before, replace(before, look_ups=before.look_ups + 1), event)

    await asyncio.gather(*(call_log.change_life(call.id, one_more) for _ in range(20)))
    assert (await call_log.get(call.id)).life["look_ups"] == 20
    with pytest.raises(NoSuchCall):
        await call_log.change_life("none", one_more)


async def test_lists_page_by_page_newest_first(call_log: CallLog, a_call: MakeCall):
    # Some share their moment, so that the id decides.
    calls = [a_call(created_at=NOON + timedelta(minutes=n // 3)) for n in range(10)]
    for call in calls:
        await call_log.create(call)
    expected = sorted(calls, key=lambda call: (call.created_at, call.id), reverse=True)
    seen: list[str] = []
    cursor: str | None = None
    sizes: list[int] = []
    while cursor is not None or not sizes:
        page = await call_log.list(cursor=cursor, limit=4)
        seen += [call.id for call in page.calls]
        sizes.append(len(page.calls))
        cursor = page.next_cursor
    assert seen == [call.id for call in expected]
    assert sizes == [4, 4, 2]


async def test_lists_what_was_asked_for(call_log: CallLog, a_call: MakeCall):
    old = await call_log.create(a_call(created_at=NOON, phone_number="+15550101"))
    new = await call_log.create(a_call(created_at=NOON + timedelta(hours=1)))
    inbound = await call_log.create(
        a_call(created_at=NOON + timedelta(hours=2), direction=Direction.INBOUND)
    )
    await call_log.save_life(new.id, ended_state())

    async def ids(**filters: object) -> list[str]:
        return [call.id for call in (await call_log.list(**filters)).calls]  # type: ignore[arg-type]

    assert await ids() == [inbound.id, new.id, old.id]
    assert await ids(status=CallStatus.COMPLETED) == [new.id]
    assert await ids(direction=Direction.INBOUND) == [inbound.id]
    assert await ids(phone_number="+15550101") == [old.id]
    assert await ids(since=NOON + timedelta(hours=1)) == [inbound.id, new.id]
    assert await ids(until=NOON + timedelta(hours=1)) == [old.id]
    assert [call.id for call in await call_log.unfinished()] == [old.id, inbound.id]


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!", "bnVsbA", "WyIxIiwgMV0", "W10", "ünfug", NUL_CURSOR]
)
async def test_a_cursor_of_somebody_else(call_log: CallLog, cursor: str):
    with pytest.raises(BadCursor):
        await call_log.list(cursor=cursor)


async def test_a_transcript_is_in_the_order_spoken(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    await call_log.write(
        [
            Turn(call_id=call.id, who=Speaker.AGENT, text="two", start_ms=900, end_ms=1500),
            Turn(call_id=call.id, who=Speaker.CALLER, text="one", start_ms=100, end_ms=800),
            CallEvent(call_id=call.id, kind="tool.called"),
            CallEvent(call_id=call.id, kind="tool.answered"),
            TokenUsage(call_id=call.id, direction="input", modality="audio", tokens=9),
        ]
    )
    turns = await call_log.transcript(call.id)
    assert [(turn.who, turn.text) for turn in turns] == [
        (Speaker.CALLER, "one"),
        (Speaker.AGENT, "two"),
    ]
    first, second = await call_log.events(call.id)
    assert [first.kind, second.kind] == ["tool.called", "tool.answered"]
    assert await call_log.events(call.id, after=first.id or 0) == [second]
    assert await call_log.events(call.id, limit=1) == [first]
    assert [usage.tokens for usage in await call_log.usage(call.id)] == [9]


async def test_delete_takes_everything_of_the_call_and_nothing_else(
    call_log: CallLog, engine: AsyncEngine, a_call: MakeCall
):
    gone, kept = await call_log.create(a_call()), await call_log.create(a_call())
    for call in (gone, kept):
        await call_log.write(
            [
                Turn(call_id=call.id, who=Speaker.AGENT, text="hi", start_ms=0, end_ms=1),
                CallEvent(call_id=call.id, kind="x"),
                TokenUsage(call_id=call.id, direction="input", modality="text", tokens=1),
            ]
        )
    with pytest.raises(CallIsLive):
        await call_log.delete(gone.id)
    await call_log.save_life(gone.id, ended_state())
    await call_log.delete(gone.id)
    with pytest.raises(NoSuchCall):
        await call_log.get(gone.id)
    async with engine.connect() as connection:
        for table in ("turns", "call_events", "token_usage"):
            found = await connection.execute(text(f"SELECT call_id FROM {table}"))
            assert found.scalars().all() == [kept.id]


async def test_what_is_written_of_a_deleted_call_is_left_out(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    late = CallEvent(call_id="deleted", kind="x")
    there = CallEvent(call_id=call.id, kind="y")
    assert await call_log.write([late, there]) == 1
    assert [event.kind for event in await call_log.events(call.id)] == ["y"]


async def test_of_a_batch_with_what_is_no_json_nothing_is_kept(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    good = CallEvent(call_id=call.id, kind="good")
    bad = CallEvent(call_id=call.id, kind="bad", detail={"at": object()})
    with pytest.raises((TypeError, StatementError), match="JSON serializable"):
        await call_log.write([good, bad])
    assert await call_log.events(call.id) == []
    assert await call_log.write([good]) == 0
    assert [event.kind for event in await call_log.events(call.id)] == ["good"]


async def test_readers_and_writers_side_by_side_never_find_it_locked(
    call_log: CallLog, a_call: MakeCall
):
    calls = [await call_log.create(a_call()) for _ in range(4)]

    async def use(call: Call) -> None:
        for n in range(8):
            await call_log.save_life(call.id, replace(ended_state(), look_ups=n))
            await call_log.write([CallEvent(call_id=call.id, kind=str(n))])
            await call_log.list()

    await asyncio.gather(*(use(call) for call in calls for _ in range(3)))
    for call in calls:
        assert len(await call_log.events(call.id)) == 24


@pytest.mark.parametrize("database_server", ["sqlite"], indirect=True)
async def test_sqlite_is_set_up_for_many_readers_and_kept_references(engine: AsyncEngine):
    async with engine.connect() as connection:
        for pragma, value in [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 1)]:
            assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value


async def test_an_error_does_not_repeat_what_was_said(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call())
    turn = Turn(call_id=call.id, who=Speaker.CALLER, text="my secret", start_ms=None, end_ms=0)
    with pytest.raises(Exception, match=r"(?i)not.null") as raised:
        await call_log.write([turn])
    assert "my secret" not in str(raised.value)


async def test_ping_misses_the_tables(engine: AsyncEngine, call_log: CallLog):
    await call_log.ping()
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE calls RENAME TO other"))
    with pytest.raises((DBAPIError, DatabaseUnavailable)) as missed:
        await call_log.ping()
    says = f"{missed.value} {missed.value.__cause__}"
    assert "no such table" in says or "does not exist" in says


async def test_what_cannot_be_stored_is_replaced_alike_everywhere(
    call_log: CallLog, a_call: MakeCall
):
    odd, clean = "a\x00b\ud800c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    call = a_call(profile={odd: [odd]}, extra={"note": {"deep": odd}, "n": float("nan")})
    await call_log.create(call, [CallEvent(call_id=call.id, kind=odd, detail={"said": odd})])
    state = replace(ended_state(), error=odd, transfer_to=odd)
    await call_log.save_life(
        call.id, state, [CallEvent(call_id=call.id, kind="x", detail={"y": 1})]
    )
    await call_log.write(
        [Turn(call_id=call.id, who=Speaker.CALLER, text=odd, start_ms=0, end_ms=1)]
    )
    kept = await call_log.get(call.id)
    assert kept.profile == {clean: [clean]}
    assert kept.extra == {"note": {"deep": clean}, "n": None}
    assert kept.error == clean
    assert CallState.from_json(kept.life).transfer_to == clean
    assert [(e.kind, e.detail) for e in await call_log.events(call.id)] == [
        (clean, {"said": clean}),
        ("x", {"y": 1}),
    ]
    assert [turn.text for turn in await call_log.transcript(call.id)] == [clean]


async def test_text_is_cut_to_its_column_alike_everywhere(call_log: CallLog, a_call: MakeCall):
    call = await call_log.create(a_call(phone_number="sip:" + "x" * 600, twilio_sid="CA" * 50))
    await call_log.write(
        [
            CallEvent(call_id=call.id, kind="k" * 100),
            TokenUsage(call_id=call.id, direction="input", modality="m" * 90, tokens=1),
        ]
    )
    kept = await call_log.get(call.id)
    assert (len(kept.phone_number), len(kept.twilio_sid or "")) == (512, 64)
    assert [len(event.kind) for event in await call_log.events(call.id)] == [64]
    assert [len(usage.modality) for usage in await call_log.usage(call.id)] == [16]


async def test_outbound_calls_of_the_last_day_alone_count_for_the_limit(
    engine: AsyncEngine, a_call: MakeCall
):
    call_log = CallLog(engine, daily_limit=2)
    await call_log.create(a_call(created_at=NOON))
    await call_log.create(a_call(created_at=NOON + timedelta(hours=1)))
    await call_log.create(a_call(created_at=NOON + timedelta(hours=1), direction=Direction.INBOUND))
    with pytest.raises(DailyLimitReached):
        await call_log.create(a_call(created_at=NOON + timedelta(hours=24)))
    await call_log.create(a_call(created_at=NOON + timedelta(hours=24, seconds=1)))
    with pytest.raises(DailyLimitReached):
        await call_log.create(a_call(created_at=NOON + timedelta(hours=24, seconds=2)))


async def test_placements_are_forgotten_when_no_limit_can_count_them(
    engine: AsyncEngine, call_log: CallLog, a_call: MakeCall
):
    async def kept() -> int:
        async with engine.connect() as connection:
            return (await connection.execute(text("SELECT count(*) FROM placements"))).scalar_one()

    await call_log.create(a_call(created_at=NOON))
    await call_log.create(a_call(created_at=NOON + timedelta(hours=24)))
    assert await kept() == 2
    await call_log.create(a_call(created_at=NOON + timedelta(hours=25)))
    assert await kept() == 2
    await call_log.create(a_call(created_at=NOON + timedelta(hours=25, minutes=59)))
    assert await kept() == 3
