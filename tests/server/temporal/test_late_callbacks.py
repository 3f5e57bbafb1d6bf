"""Callbacks that come minutes late, on a Temporal server whose workflows' clocks are put forward.

    workflow   placed ── 10 s, 15 s … look-up ──▶ over            record
    Twilio            ╴╴╴╴╴╴╴╴╴ minutes ╴╴╴╴╴╴╴╴╴╴╴╴╴▶ callback ─▶ event; nothing else

The rules wait as long as they do in production: all of these minutes are skipped.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from agent.lifecycle.events import TwilioStatus
from agent.lifecycle.state import Patience
from agent.lifecycle.statuses import CallStatus
from agent.lifecycle.told import Told
from agent.record.call_log import CallLog
from agent.record.models import Call
from agent.runner.temporal_runner import TemporalRunner
from agent.runner.workflow_client import CallIsOver
from server.demo.temporal_server import TemporalServer, running_temporal
from server.temporal import connection
from tests.agent.conftest import a_call, call_log, engine
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

__all__ = ["a_call", "call_log", "engine"]

MakeCall = Callable[..., Call]
STATUS = "twilio.status"
# Longer than any wait of the rules for a call that is not answered: ring timeout, margin, look-ups.
MINUTES = 5 * 60.0


@pytest.fixture
def database_server() -> None:
    """SQLite alone: `CallLog` answers alike on both."""


@pytest.fixture(scope="module")
def skipping_temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    with running_temporal(tmp_path_factory.mktemp("temporal"), skips_time=True) as server:
        yield server


class LateCalls:
    """The lives of calls, whose minutes pass at once, and what Twilio says of them late."""

    def __init__(self, life: TemporalRunner, phone: Phone, record: CallLog) -> None:
        self.life, self.phone, self.record = life, phone, record
        self._skipped_secs = 0.0
        now = life.now
        life.now = lambda: now() + self._skipped_secs

    async def place(self, call: Call) -> Call:
        return await self.life.place(call, placed(self.life, max_duration_secs=1800))

    async def skip(self, call: Call, secs: float) -> bool:
        """Put the clock of a call's workflow forward; whether it lives then."""
        client = await self.life.workflows.client()
        handle = client.get_workflow_handle(call.id)
        lives = await TimeSkipper(client).fast_forward(handle, secs)
        self._skipped_secs += secs
        return lives

    async def say(self, call: Call, *words: str) -> None:
        """Status callbacks of Twilio's, in this order."""
        for word in words:
            await self.life.tell(call.id, TwilioStatus(self.life.now(), word, "CA1"))

    async def said(self, call: Call) -> list[Any]:
        """The statuses that the record has of a call, in its order."""
        events = await self.record.events(call.id)
        return [event.detail["status"] for event in events if event.kind == STATUS]

    async def only_run(self, call: Call) -> tuple[str, WorkflowExecutionStatus | None]:
        """The one run that a call's workflow had, which is over, and how it ended."""
        client = await self.life.workflows.client()
        handle = client.get_workflow_handle(call.id)
        await handle.result()
        described = await handle.describe()
        raw = described.raw_description.workflow_execution_info
        assert raw.first_run_id == described.run_id
        return described.run_id, described.status


@pytest.fixture
async def calls(
    skipping_temporal: TemporalServer, call_log: CallLog, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LateCalls]:
    connect = Client.connect

    class SkippingClient:
        """Starts workflows whose clocks run as ever until they are put forward."""

        @staticmethod
        async def connect(*words: Any, **more: Any) -> Client:
            client = await connect(*words, **more)
            return TimeSkipper(client, config=TimeSkippingConfig(enabled=False)).client

    monkeypatch.setattr(connection, "Client", SkippingClient)
    async with late_calls(skipping_temporal, call_log) as made:
        yield made


@asynccontextmanager
async def late_calls(temporal: TemporalServer, call_log: CallLog) -> AsyncIterator[LateCalls]:
    phone = Phone()
    parts = (phone, ScriptedMedia(), Ends())
    async with over_temporal(temporal, call_log, *parts, patience=Patience()) as life:
        yield LateCalls(life, phone, call_log)


OUTCOMES = [
    ("busy", CallStatus.BUSY),
    ("no-answer", CallStatus.NO_ANSWER),
    pytest.param("completed", CallStatus.COMPLETED, marks=pytest.mark.long),
    pytest.param("failed", CallStatus.FAILED, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("word", "status"), OUTCOMES)
async def test_a_callback_after_a_look_up_has_closed_the_call_is_an_event_and_no_more(
    calls: LateCalls, a_call: MakeCall, word: str, status: CallStatus
) -> None:
    call = await calls.place(a_call())
    calls.phone.calls["CA1"] = word
    assert not await calls.skip(call, MINUTES)
    ended = await calls.life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is status
    assert await calls.said(call) == [word]
    run = await calls.only_run(call)
    assert run[1] is WorkflowExecutionStatus.COMPLETED

    # Twilio's own, twice, behind two that are older.
    await calls.say(call, "ringing", word, word, "in-progress")
    assert await calls.said(call) == [word, "ringing", word, word, "in-progress"]
    late = Told.of(TwilioStatus(calls.life.now(), word, "CA1"))
    with pytest.raises(CallIsOver):
        # An instance that has not seen the end yet.
        await calls.life.workflows.tell(call.id, [late])
    assert await calls.only_run(call) == run
    after = await calls.life.record(call.id)
    assert (after.status, after.end_reason, after.ended_at) == (
        (status, ended.end_reason, ended.ended_at)
    )
    assert (len(calls.phone.dialled), calls.phone.hung_up) == (1, [])
    happened = await kinds(calls.record, call)
    assert happened.count("life.placed") == happened.count("life.dialled") == 1


async def test_callbacks_minutes_late_do_not_take_back_a_call_that_goes_on(
    calls: LateCalls, a_call: MakeCall
) -> None:
    call = await calls.place(a_call())
    calls.phone.calls["CA1"] = "in-progress"
    assert await calls.skip(call, 8)
    await answer(calls.life, call)
    assert await calls.skip(call, 3 * 60)
    older = ["initiated", "ringing", "ringing", "in-progress"]
    await calls.say(call, *older)

    async def are_told() -> bool:
        return (await calls.said(call))[-4:] == older

    await eventually(are_told)
    assert (await calls.life.state(call.id)).status is CallStatus.IN_PROGRESS
    # What Twilio says of the end is late, too: it is looked up first.
    calls.phone.calls["CA1"] = "completed"
    assert not await calls.skip(call, 10 * 60)
    ended = await calls.life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is CallStatus.COMPLETED
    run = await calls.only_run(call)
    await calls.say(call, "completed")
    assert (await calls.said(call))[-2:] == ["completed", "completed"]
    after = await calls.life.record(call.id)
    assert (after.status, after.ended_at) == (ended.status, ended.ended_at)
    assert await calls.only_run(call) == run
    assert (len(calls.phone.dialled), calls.phone.hung_up) == (1, [])


async def test_completed_before_in_progress_ends_the_call_once(
    calls: LateCalls, a_call: MakeCall
) -> None:
    call = await calls.place(a_call())
    calls.phone.calls["CA1"] = "in-progress"
    await calls.say(call, "completed", "in-progress", "ringing")
    ended = await calls.life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is CallStatus.COMPLETED
    await calls.say(call, "in-progress")
    assert (await calls.life.record(call.id)).status is CallStatus.COMPLETED
    assert (await calls.only_run(call))[1] is WorkflowExecutionStatus.COMPLETED
    assert (len(calls.phone.dialled), calls.phone.hung_up) == (1, [])
