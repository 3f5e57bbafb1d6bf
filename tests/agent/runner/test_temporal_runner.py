"""Lives of calls over Temporal when parts of it are away: the server, workers, the database."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.lifecycle.events import (
    ConversationEnded,
    StreamEnded,
    StreamStarted,
    Terminate,
    TwilioStatus,
    TwimlFetched,
)
from agent.lifecycle.state import HangUpVerb, OpenStream, TransferVerb, next_verbs
from agent.lifecycle.statuses import CallStatus, Driver, EndReason
from agent.ports import LifecycleUnavailable
from agent.record.call_log import CallLog, DatabaseUnavailable, NoSuchCall
from agent.record.models import Call
from agent.runner.sweeper import Sweeper
from agent.runner.temporal_runner import TemporalRunner
from server.demo.temporal_server import TemporalServer, running_temporal
from tests.agent.runner.conftest import over_temporal
from tests.agent.runner.scripted import (
    SECS,
    Ends,
    Phone,
    ScriptedMedia,
    answer,
    eventually,
    kinds,
    placed,
)

MakeCall = Callable[..., Call]


@pytest.fixture
def database_server() -> None:
    """SQLite alone: `CallLog` answers alike on both."""


@pytest.fixture
def own_temporal(tmp_path: Path) -> Iterator[TemporalServer]:
    """A server that a test may stop."""
    with running_temporal(tmp_path) as server:
        yield server


async def test_calls_go_on_while_temporal_is_away_and_it_is_told_afterwards(
    own_temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
):
    async with over_temporal(own_temporal, call_log, phone, media, ends) as life:
        call = await life.place(a_call(), placed(life))
        phone.calls["CA1"] = "in-progress"
        await answer(life, call)
        await eventually(lambda: _has(call_log, call, "life.stream_started"))

        await asyncio.to_thread(own_temporal.stop)
        over = ConversationEnded(life.now(), "agent", transfer_to="+15550111")
        await life.tell_until_kept(call.id, over)
        # The caller is answered from the record and from what is on its way.
        state = await life.tell_or_assume(call.id, TwimlFetched(life.now()))
        assert next_verbs(state) == TransferVerb("+15550111")
        await life.tell(call.id, StreamEnded(life.now(), "MZ1", 30))
        assert "life.conversation_ended" not in await kinds(call_log, call)

        refused = a_call()
        with pytest.raises(LifecycleUnavailable):
            await life.place(refused, placed(life))
        with pytest.raises(NoSuchCall):
            await life.record(refused.id)
        assert len(phone.dialled) == 1

        phone.calls["CA5"] = "in-progress"
        inbound = await life.place(a_call(), placed(life, inbound=True, twilio_sid="CA5"))
        assert next_verbs(await life.tell(inbound.id, TwimlFetched(life.now()))) == OpenStream()
        await life.tell(inbound.id, StreamStarted(life.now(), "MZ5", "here"))
        assert (await life.state(inbound.id)).driver is Driver.LOCAL

        phone.calls["CA1"] = "completed"
        await asyncio.to_thread(own_temporal.start)
        ended = await life.ended(call.id, SECS)
        assert ended is not None
        assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)
        happened = await kinds(call_log, call)
        told = ["life.conversation_ended", "life.stream_ended"]
        assert [kind for kind in happened if kind in told] == told
        assert await call_log.untold() == []

        async def is_handed_over() -> bool:
            return (await life.state(inbound.id)).driver is Driver.TEMPORAL

        await eventually(is_handed_over)
        await life.tell(inbound.id, Terminate(life.now()))
        ended = await life.ended(inbound.id, SECS)
        assert ended is not None
        assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.API)
        assert len(phone.dialled) == 1


async def test_without_a_worker_nothing_is_placed_or_dialled_later(
    own_temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
):
    refused = a_call(idempotency_key="k")
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    without_worker: dict[str, Any] = {"with_calls": False, "leave": True, "begin_secs": 3.0}
    async with over_temporal(own_temporal, call_log, phone, media, ends, **without_worker) as life:
        with pytest.raises(LifecycleUnavailable):
            await life.place(refused, placed(life))
        await media.until(refused, "warm", "release")
    gc.collect()
    assert unseen == []
    async with over_temporal(own_temporal, call_log, phone, media, ends) as life:
        client = await life.workflows.client()
        # Its workflow was started, and finds that the call was withdrawn.
        assert await client.get_workflow_handle(refused.id).result() == "withdrawn"
        assert phone.dialled == []
        again = await life.place(a_call(idempotency_key="k"), placed(life))
        assert again.twilio_sid == "CA1"


async def test_events_are_told_in_the_order_in_which_they_came(
    temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
):
    async with over_temporal(temporal, call_log, phone, media, ends) as life:
        call = await life.place(a_call(), placed(life))
        read, may_go_on = call_log.get, asyncio.Event()

        async def reads_slowly(call_id: str) -> Call:
            monkeypatch.setattr(call_log, "get", read)
            await may_go_on.wait()
            return await read(call_id)

        monkeypatch.setattr(call_log, "get", reads_slowly)
        sid = call.twilio_sid or ""
        picked_up = [TwilioStatus(life.now(), "in-progress", sid), TwimlFetched(life.now())]
        first = asyncio.create_task(life.tell(call.id, *picked_up))
        await asyncio.sleep(0)
        second = asyncio.create_task(life.tell(call.id, TwilioStatus(life.now(), "completed", sid)))
        await asyncio.wait({second}, timeout=0.3)
        may_go_on.set()
        await asyncio.gather(first, second)
        ended = await life.ended(call.id, SECS)
        assert ended is not None
        assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.CALLER)


async def test_signals_need_no_worker(
    own_temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
):
    phone.calls["CA5"] = "in-progress"
    without_worker: dict[str, Any] = {"with_calls": False, "leave": True, "tell_now_secs": 0.2}
    async with over_temporal(own_temporal, call_log, phone, media, ends, **without_worker) as life:
        call = await life.place(a_call(), placed(life, inbound=True, twilio_sid="CA5"))
        state = await answer(life, call, "MZ5")
        assert state.status is CallStatus.IN_PROGRESS
        await life.tell_until_kept(call.id, ConversationEnded(life.now(), "silence"))
        state = await life.tell_or_assume(call.id, TwimlFetched(life.now()))
        assert next_verbs(state) == HangUpVerb()
    async with over_temporal(own_temporal, call_log, phone, media, ends) as life:
        ended = await life.ended(call.id, SECS)
        assert ended is not None
        assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.SILENCE)
        assert (await kinds(call_log, call)).count("life.conversation_ended") == 1


async def test_a_call_whose_workflow_was_terminated_is_swept_up(
    temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("agent.runner.sweeper._YOUNG", timedelta(0))
    async with over_temporal(temporal, call_log, phone, media, ends) as life:
        call = await life.place(a_call(), placed(life))
        lives = await life.place(a_call(), placed(life))
        client = await life.workflows.client()
        await client.get_workflow_handle(call.id).terminate()
        phone.calls["CA1"] = "busy"
        sweeper = Sweeper(call_log, life.workflows)
        assert await sweeper.sweep() in (1, 2)  # the other one may be over by now
        for one in (call, lives):
            ended = await life.ended(one.id, SECS)
            assert ended is not None
            assert ended.status is CallStatus.BUSY
        assert await sweeper.sweep() == 0
        assert len(phone.dialled) == 2


class Away(CallLog):
    """A record that cannot be written now and then."""

    away = False

    async def store_life(self, *args: Any, **more: Any) -> None:
        if self.away:
            raise DatabaseUnavailable("away")
        await super().store_life(*args, **more)


async def test_a_database_that_is_away_holds_up_no_hang_up(
    temporal: TemporalServer,
    engine: AsyncEngine,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
):
    record = Away(engine)
    async with over_temporal(temporal, record, phone, media, ends) as life:
        call = await life.place(a_call(), placed(life))
        phone.calls["CA1"] = "in-progress"
        await answer(life, call)
        record.away = True
        await life.tell(call.id, TwilioStatus(life.now(), "in-progress", "CA1"))
        telling = asyncio.create_task(life.tell(call.id, Terminate(life.now())))
        await phone.until(lambda: "CA1" in phone.hung_up)
        record.away = False
        await telling
        ended = await life.ended(call.id, SECS)
        assert ended is not None
        assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.API)
        # Each event once, although writes were repeated.
        happened = await kinds(record, call)
        assert happened.count("life.terminate") == 1
        assert happened.count("life.dialled") == 1


class Unreadable(CallLog):
    """A record that cannot be read at first."""

    failures = 2

    async def get(self, call_id: str) -> Call:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable("away")
        return await super().get(call_id)


async def test_the_end_of_a_call_is_reported_when_the_database_is_back(
    engine: AsyncEngine, a_call: MakeCall
) -> None:
    ended: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
    unused: Any = SimpleNamespace(now=lambda: 0.0)
    record = Unreadable(engine)
    call = await record.create(a_call(status=CallStatus.COMPLETED), [])
    life = TemporalRunner(unused, unused, record, instance="here", on_end=ended.set_result)
    life.call_is_over(call.id)
    async with asyncio.timeout(SECS):
        assert (await ended).id == call.id


async def _has(call_log: CallLog, call: Call, kind: str) -> bool:
    return kind in await kinds(call_log, call)
