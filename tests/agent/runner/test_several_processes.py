"""Processes that share one database: one request is one call, and a limit is nobody's to exceed.

Each process is an engine of its own here; a database cannot tell the difference.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import Direction
from agent.record.call_log import (
    CallLog,
    DailyLimitReached,
    DatabaseUnavailable,
    IdempotencyConflict,
    NoSuchCall,
    StaleRevision,
)
from agent.record.database import open_engine
from agent.record.models import Call, CallEvent
from tests.postgres import Postgres

MakeCall = Callable[..., Call]
Logs = list[CallLog]

A_STATE = CallState(Direction.OUTBOUND)


@pytest.fixture
async def logs(database_url: str) -> AsyncIterator[Logs]:
    """The records of three processes, which may create seven calls a day together."""
    engines = [open_engine(database_url, pool_size=4) for _ in range(3)]
    yield [CallLog(engine, daily_limit=7) for engine in engines]
    for engine in engines:
        await engine.dispose()


async def test_the_same_request_to_each_is_one_call(logs: Logs, a_call: MakeCall):
    calls = [a_call(idempotency_key="k", request_fingerprint="f") for _ in range(12)]
    kept = await asyncio.gather(
        *(
            logs[n % 3].create(call, [CallEvent(call_id=call.id, kind="x")])
            for n, call in enumerate(calls)
        )
    )
    assert len({call.id for call in kept}) == 1
    assert len((await logs[0].list()).calls) == 1
    assert len(await logs[0].events(kept[0].id)) == 1
    with pytest.raises(IdempotencyConflict):
        await logs[1].create(a_call(idempotency_key="k", request_fingerprint="other"))


async def test_the_same_inbound_call_at_each_is_one_call(logs: Logs, a_call: MakeCall):
    calls = [a_call(idempotency_key="twilio:CA1", direction=Direction.INBOUND) for _ in range(12)]
    kept = await asyncio.gather(*(logs[n % 3].create(call) for n, call in enumerate(calls)))
    assert len({call.id for call in kept}) == 1


async def test_together_they_stay_below_the_daily_limit(logs: Logs, a_call: MakeCall):
    outcomes = await asyncio.gather(
        *(logs[n % 3].create(a_call()) for n in range(18)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Call) for outcome in outcomes) == 7
    assert sum(isinstance(outcome, DailyLimitReached) for outcome in outcomes) == 11
    assert len((await logs[0].list()).calls) == 7


async def test_the_limit_holds_up_neither_inbound_calls_nor_a_repeated_request(
    logs: Logs, a_call: MakeCall
):
    first = await logs[0].create(a_call(idempotency_key="k"))
    for _ in range(6):
        await logs[1].create(a_call())
    with pytest.raises(DailyLimitReached):
        await logs[2].create(a_call())
    assert (await logs[2].create(a_call(idempotency_key="k"))).id == first.id
    await logs[2].create(a_call(direction=Direction.INBOUND))


async def test_a_life_that_went_on_elsewhere_is_not_overwritten(logs: Logs, a_call: MakeCall):
    call = await logs[0].create(a_call())
    first, second = replace(A_STATE, look_ups=1), replace(A_STATE, look_ups=2)
    kept = await logs[0].save_life(call.id, first, [], call.revision)
    assert kept.revision == 1
    event = CallEvent(call_id=call.id, kind="x")
    with pytest.raises(StaleRevision):
        await logs[1].save_life(call.id, second, [event], call.revision)
    assert (await logs[1].get(call.id)).life["look_ups"] == 1
    assert await logs[1].events(call.id) == []
    kept = await logs[1].save_life(call.id, second, [event], 1)
    assert kept.revision == 2
    with pytest.raises(NoSuchCall):
        await logs[1].save_life("none", second, [], 0)


@pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)
async def test_a_process_has_as_many_connections_as_its_pool(database_url: str, a_call: MakeCall):
    engine = open_engine(database_url, pool_size=3)
    call_log = CallLog(engine)
    await asyncio.gather(*(call_log.create(a_call()) for _ in range(20)))
    async with engine.connect() as connection:
        counted = await connection.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )
        assert counted.scalar() == 3
    await engine.dispose()


@pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)
async def test_a_server_that_restarted_is_connected_to_again(
    database_url: str, database_server: Postgres, a_call: MakeCall
):
    engine = open_engine(database_url, pool_size=3)
    call_log = CallLog(engine)
    call = await call_log.create(a_call())
    async with database_server.administrator() as administrator:
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            engine.url.database,
        )
    assert (await call_log.get(call.id)).id == call.id
    await engine.dispose()


async def test_a_server_that_is_away_is_said_to_be(a_call: MakeCall):
    engine = open_engine("postgresql+asyncpg://postgres@/x?host=/nowhere")
    with pytest.raises(DatabaseUnavailable):
        await CallLog(engine).create(a_call())
    with pytest.raises(DatabaseUnavailable):
        await CallLog(engine).ping()
    await engine.dispose()
