"""The life of calls in one process: a real record, a scripted telephone and media side."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.lifecycle.events import (
    ConversationEnded,
    StreamStarted,
    Terminate,
    TwilioStatus,
    TwimlFetched,
)
from agent.lifecycle.state import CallState, Patience
from agent.lifecycle.statuses import CallStatus, EndReason
from agent.record.call_log import CallLog, DatabaseUnavailable, NoSuchCall
from agent.record.models import Call, CallEvent
from agent.runner.local_runner import LocalRunner
from tests.agent.runner.scripted import (
    QUICK,
    SECS,
    Ends,
    Phone,
    ScriptedMedia,
    answer,
    kinds,
    placed,
)

MakeCall = Callable[..., Call]


@pytest.fixture
def database_server() -> None:
    """SQLite alone: `CallLog` answers alike on both."""


Start = Callable[..., Awaitable[LocalRunner]]


@pytest.fixture
async def start(
    call_log: CallLog, phone: Phone, media: ScriptedMedia, ends: Ends
) -> AsyncIterator[Start]:
    """Starts a process's life of calls; all that were started are closed."""
    started: list[LocalRunner] = []

    async def make(patience: Patience = QUICK, **more: Any) -> LocalRunner:
        settings: dict[str, Any] = {"call_log": call_log, "telephone": phone, "media": media}
        life = LocalRunner(**(settings | {"patience": patience, "on_end": ends} | more))
        started.append(life)
        return life

    yield make
    phone.open.set()
    media.open.set()
    for life in started:
        await life.close()


@pytest.fixture
async def life(start: Start) -> LocalRunner:
    return await start()


async def test_a_slow_dial_holds_up_neither_tell_nor_the_answer_for_ever(
    start: Start, phone: Phone, a_call: MakeCall
):
    life = await start(dial_wait_secs=0.05)
    phone.open.clear()
    call = await life.place(a_call(), placed(life))
    assert call.status is CallStatus.INITIATED
    assert call.twilio_sid is None
    state = await life.tell(call.id, Terminate(life.now()))
    assert state.end_reason is EndReason.API
    phone.open.set()
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert phone.hung_up[0] == "CA1"


async def test_a_broken_or_stuck_desk_harms_no_call(
    life: LocalRunner, media: ScriptedMedia, a_call: MakeCall
):
    media.broken = True
    call = await life.place(a_call(), placed(life))
    media.open.clear()
    await life.tell(call.id, TwilioStatus(life.now(), "busy", "CA1"))
    assert (await life.state(call.id)).status is CallStatus.BUSY
    media.open.set()
    await life.close()
    assert media.of(call) == ["warm", "release"]


async def test_one_calls_trouble_is_not_anothers(life: LocalRunner, phone: Phone, a_call: MakeCall):
    stuck = await life.place(a_call(), placed(life))
    phone.open.clear()
    waiting = asyncio.create_task(life.place(a_call(), placed(life)))
    await phone.until(lambda: len(phone.dialled) == 2)
    assert (await answer(life, stuck)).status is CallStatus.IN_PROGRESS
    phone.open.set()
    phone.dial_answer = "CA2"
    assert (await waiting).twilio_sid == "CA2"


async def test_several_events_at_once_are_decided_in_their_order(
    start: Start, call_log: CallLog, a_call: MakeCall
):
    life = await start(Patience())  # no timer comes in between
    call = await life.place(a_call(), placed(life))
    now = life.now()
    state = await life.tell(call.id, TwilioStatus(now, "in-progress", "CA1"), TwimlFetched(now))
    assert (state.status, state.stream_due) == (CallStatus.IN_PROGRESS, True)
    told = (await kinds(call_log, call))[-3:]
    assert told == ["twilio.status", "life.status", "twilio.twiml"]
    assert CallState.from_json((await call_log.get(call.id)).life) == state


async def test_what_another_process_was_told_counts(
    start: Start, engine: AsyncEngine, call_log: CallLog, a_call: MakeCall
):
    here, there = await start(), await start(call_log=CallLog(engine))
    call = await here.place(a_call(), placed(here))
    await there.tell(call.id, TwilioStatus(there.now(), "in-progress", "CA1"))
    await here.tell(call.id, StreamStarted(here.now(), "MZ1", "here"))
    await there.tell(call.id, ConversationEnded(there.now(), "agent"))
    state = await here.tell(call.id, TwilioStatus(here.now(), "completed", "CA1"))
    assert (state.status, state.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)
    assert CallState.from_json((await call_log.get(call.id)).life) == state
    assert (await kinds(call_log, call)).count("life.stream_started") == 1


async def test_a_call_whose_end_another_process_was_told_is_let_go_here(
    start: Start, engine: AsyncEngine, media: ScriptedMedia, a_call: MakeCall
):
    elsewhere = ScriptedMedia()
    here = await start()
    there = await start(call_log=CallLog(engine), media=elsewhere)
    call = await there.place(a_call(), placed(there))
    await here.tell(call.id, StreamStarted(here.now(), "MZ1", "here"))
    await there.tell(call.id, TwilioStatus(there.now(), "completed", "CA1"))
    await media.until(call, "end caller")


async def test_waiting_for_the_end(life: LocalRunner, a_call: MakeCall):
    call = await life.place(a_call(), placed(life))
    assert await life.ended(call.id, 0.01) is None
    waiting = [asyncio.create_task(life.ended(call.id, SECS)) for _ in range(3)]
    await life.tell(call.id, TwilioStatus(life.now(), "busy", "CA1"))
    for ended in await asyncio.gather(*waiting):
        assert ended is not None
        assert ended.status is CallStatus.BUSY
    # And for one that is over already.
    assert await life.ended(call.id, 0) is not None


async def test_unknown_calls(life: LocalRunner):
    with pytest.raises(NoSuchCall):
        await life.tell("none", Terminate(life.now()))
    with pytest.raises(NoSuchCall):
        await life.state("none")
    with pytest.raises(NoSuchCall):
        await life.ended("none", 1)


async def test_a_restart_goes_on_where_the_process_stopped(
    start: Start, phone: Phone, a_call: MakeCall
):
    before = await start(Patience())
    talking = await before.place(a_call(), placed(before))
    phone.dial_answer = "CA2"
    over = await before.place(a_call(), placed(before))
    await answer(before, talking, "MZ1")
    await answer(before, over, "MZ2")
    await before.close()
    phone.calls |= {"CA1": "in-progress", "CA2": "completed"}

    after = await start()
    await after.resume()
    ended = await after.ended(over.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.SYSTEM)
    # A stream of the old process is gone, and the call waits for a new one.
    state = await after.state(talking.id)
    assert (state.status, state.stream_sid) == (CallStatus.IN_PROGRESS, None)
    assert state.short_streams == 0
    assert (await answer(after, talking, "MZ4")).stream_sid == "MZ4"


async def test_a_start_leaves_alone_what_another_instance_has(
    start: Start, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    other = await start(Patience())
    talks = await other.place(a_call(), placed(other))
    phone.dial_answer = "CA2"
    rings = await other.place(a_call(), placed(other))
    phone.dial_answer = "CA3"
    stranded = await other.place(a_call(), placed(other))
    await answer(other, talks, "MZ1")
    await answer(other, stranded, "MZ3")

    asked: list[set[str]] = []

    async def elsewhere(call_ids: Sequence[str]) -> set[str]:
        asked.append(set(call_ids))
        return {talks.id, rings.id}

    late = await start(Patience(), elsewhere=elsewhere)
    await late.resume()
    assert asked == [{talks.id, rings.id, stranded.id}], "once for all of them"
    await phone.until(lambda: "CA3" in phone.looked_up)
    states = [await late.state(call.id) for call in (talks, stranded)]
    assert [state.stream_sid for state in states] == ["MZ1", None]
    assert [state.abandoned for state in states] == [False, True]
    assert phone.looked_up == ["CA3"]
    assert media.of(rings) == ["warm"]


async def test_a_start_leaves_alone_a_call_that_another_instance_takes_meanwhile(
    start: Start, phone: Phone, a_call: MakeCall
):
    other = await start(Patience())
    taken = await other.place(a_call(), placed(other))
    await answer(other, taken, "MZ1")

    async def elsewhere(_: Sequence[str]) -> set[str]:
        # Nobody has it yet; its next stream comes before this one gets to it.
        await answer(other, taken, "MZ2")
        return set()

    late = await start(Patience(), elsewhere=elsewhere)
    await late.resume()
    state = await late.state(taken.id)
    assert (state.stream_sid, state.abandoned) == ("MZ2", False)
    assert phone.looked_up == []


async def test_a_restart_prepares_anew_what_may_still_ring(
    start: Start, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    before = await start(Patience())
    rings = await before.place(a_call(), placed(before))
    phone.dial_answer = "CA2"
    talks = await before.place(a_call(), placed(before))
    await before.tell(talks.id, TwimlFetched(before.now()))
    phone.dial_answer = "CA3"
    rang = await before.place(a_call(), placed(before, ring_timeout_secs=1))
    await before.close()
    later = before.now() + 30
    after = await start(clock=lambda: later)
    await after.resume()
    await phone.until(lambda: {"CA1", "CA2", "CA3"} <= {*phone.looked_up})
    await after.close()
    assert media.of(rings) == ["warm", "warm"]
    assert media.of(talks) == media.of(rang) == ["warm"]


async def test_a_call_is_prepared_and_dialled_side_by_side(
    life: LocalRunner, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    phone.open.clear()
    media.open.clear()
    placing = asyncio.create_task(life.place(call := a_call(), placed(life)))
    await phone.until(lambda: len(phone.dialled) == 1)
    media.open.set()
    async with asyncio.timeout(SECS):
        while not media.of(call):  # noqa: ASYNC110 (the media side has no other sign)
            await asyncio.sleep(0)
    assert not placing.done()
    phone.open.set()
    await placing


async def test_timers_run_on_through_a_restart(start: Start, phone: Phone, a_call: MakeCall):
    before = await start(replace(QUICK, limit_margin_secs=1000))
    call = await before.place(a_call(), placed(before, max_duration_secs=60))
    phone.calls["CA1"] = "in-progress"
    await before.tell(call.id, TwimlFetched(before.now()))
    await before.close()
    hours_later = before.now() + 7200
    after = await start(clock=lambda: hours_later)
    await after.resume()
    ended = await after.ended(call.id, SECS)
    assert ended is not None
    assert ended.end_reason is EndReason.LIMIT


async def test_a_process_that_died_while_it_dialled_looks_the_call_up(
    start: Start, phone: Phone, a_call: MakeCall
):
    before = await start(dial_wait_secs=0.0)
    phone.open.clear()
    call = await before.place(a_call(), placed(before))
    await phone.until(lambda: len(phone.dialled) == 1)
    await before.close(timeout=0.0)
    phone.open.set()
    phone.calls["CA9"] = "busy"
    after = await start()
    await after.resume()
    ended = await after.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.twilio_sid) == (CallStatus.BUSY, "CA9")
    assert len(phone.dialled) == 1


async def test_a_database_that_is_away_loses_no_result(
    start: Start, engine: AsyncEngine, phone: Phone, a_call: MakeCall
):
    class Flaky(CallLog):
        failures = 0

        async def change_life(self, *args: Any) -> Any:
            if self.failures > 0:
                self.failures -= 1
                raise OperationalError("UPDATE", {}, Exception("database is locked"))
            return await super().change_life(*args)

    flaky = Flaky(engine)
    flaky.failures = 2
    life = await start(call_log=flaky)
    call = await life.place(a_call(), placed(life))
    assert call.twilio_sid == "CA1"
    assert len(phone.dialled) == 1


async def test_what_happened_while_the_database_was_away_is_told_before_what_came_later(
    start: Start, engine: AsyncEngine, phone: Phone, call_log: CallLog, a_call: MakeCall
):
    class Away(CallLog):
        away = False
        tried = asyncio.Event()

        async def change_life(self, *args: Any) -> Any:
            if self.away:
                self.tried.set()
                raise DatabaseUnavailable("full")
            return await super().change_life(*args)

    database = Away(engine)
    # Nothing is looked up meanwhile: only what is told here is known.
    life = await start(call_log=database, patience=Patience())
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    database.away = True
    surely = asyncio.create_task(
        life.tell_until_kept(call.id, ConversationEnded(life.now(), "agent"))
    )
    await database.tried.wait()
    with pytest.raises(DatabaseUnavailable):
        await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    assert not surely.done()
    database.away = False
    state = await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    assert (state.status, state.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)
    await surely
    assert (await kinds(call_log, call)).count("life.conversation_ended") == 1


async def test_what_is_told_waits_for_nothing_that_comes_later(
    start: Start, engine: AsyncEngine, a_call: MakeCall
):
    class Busy(CallLog):
        """Hears of something new while it keeps something."""

        life: LocalRunner
        news = 0
        told: ClassVar[list[asyncio.Task[None]]] = []

        async def change_life(self, call_id: str, *what: Any) -> Any:
            if self.news < 100:
                self.news += 1
                event = TwilioStatus(self.life.now(), "in-progress", "CA1")
                self.told.append(asyncio.create_task(self.life.tell_until_kept(call_id, event)))
                await asyncio.sleep(0)
            return await super().change_life(call_id, *what)

    call_log = Busy(engine)
    call_log.life = life = await start(Patience(), call_log=call_log)
    call = await life.place(a_call(), placed(life))
    call_log.news = 0
    await life.tell(call.id, Terminate(life.now()))
    assert call_log.news < 20
    await asyncio.gather(*call_log.told)


async def test_no_timer_is_left_of_an_ended_call(life: LocalRunner, a_call: MakeCall):
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    assert life._timers.armed(call.id) == set((await life.state(call.id)).deadlines)
    assert life._timers.armed(call.id)
    await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    assert life._timers.armed(call.id) == set()


class Forgetful(CallLog):
    """Keeps what it is told to, and may then say that it could not: the answer was lost."""

    # The kind of the event that this happens to, once.
    forgets: str | None = None

    async def create(self, call: Call, events: Sequence[CallEvent] = ()) -> Call:
        kept = await super().create(call, events)
        self._forget(events)
        return kept

    async def change_life(self, *what: Any) -> Any:
        call, decision = await super().change_life(*what)
        self._forget(decision.events)
        return call, decision

    def _forget(self, events: Sequence[CallEvent]) -> None:
        if self.forgets in [event.kind for event in events]:
            self.forgets = None
            raise DatabaseUnavailable("the connection was lost")


async def test_a_decision_whose_answer_was_lost_is_carried_out(
    start: Start, engine: AsyncEngine, phone: Phone, a_call: MakeCall
):
    call_log = Forgetful(engine)
    life = await start(call_log=call_log)
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    call_log.forgets = "life.terminate"
    with pytest.raises(DatabaseUnavailable):
        await life.tell(call.id, Terminate(life.now()))
    phone.obeys = False
    await phone.until(lambda: "CA1" in phone.hung_up)


async def test_what_a_caller_told_who_was_cancelled_is_carried_out(
    start: Start, engine: AsyncEngine, phone: Phone, a_call: MakeCall
):
    class Heard(CallLog):
        asked = asyncio.Event()

        async def change_life(self, *what: Any) -> Any:
            self.asked.set()
            return await super().change_life(*what)

    call_log = Heard(engine)
    life = await start(replace(Patience(), reconcile_secs=0.05), call_log=call_log)
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    call_log.asked.clear()
    telling = asyncio.create_task(life.tell(call.id, Terminate(life.now())))
    await call_log.asked.wait()
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    await phone.until(lambda: "CA1" in phone.hung_up)
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.end_reason is EndReason.API


async def test_an_end_whose_answer_was_lost_is_an_end(
    start: Start, engine: AsyncEngine, media: ScriptedMedia, ends: Ends, a_call: MakeCall
):
    call_log = Forgetful(engine)
    life = await start(call_log=call_log)
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    waiting = asyncio.create_task(life.ended(call.id, SECS))
    await asyncio.sleep(0)
    call_log.forgets = "life.status"
    with pytest.raises(DatabaseUnavailable):
        await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    ended = await waiting
    assert ended is not None
    async with asyncio.timeout(SECS):
        await ends.came.wait()
    await life.close()
    assert [one.id for one in ends.calls] == [call.id]
    assert media.of(call) == ["warm", "end caller"]


async def test_a_timer_is_kept_when_a_decision_was_not(
    start: Start, engine: AsyncEngine, phone: Phone, a_call: MakeCall
):
    class Away(CallLog):
        away = False

        async def change_life(self, *what: Any) -> Any:
            if self.away:
                raise DatabaseUnavailable("the database is away")
            return await super().change_life(*what)

    call_log = Away(engine)
    life = await start(replace(QUICK, reconcile_at_most_secs=0.2), call_log=call_log)
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    call_log.away = True
    with pytest.raises(DatabaseUnavailable):
        await life.tell(call.id, TwilioStatus(life.now(), "in-progress", "CA1"))
    call_log.away = False
    phone.calls["CA1"] = "completed"
    ended = await life.ended(call.id, SECS)
    assert ended is not None


async def test_a_call_that_was_kept_though_its_place_was_refused_never_rings(
    start: Start, engine: AsyncEngine, phone: Phone, a_call: MakeCall
):
    call_log = Forgetful(engine)
    life = await start(call_log=call_log)
    call = a_call()
    call_log.forgets = "life.placed"
    with pytest.raises(DatabaseUnavailable):
        await life.place(call, placed(life))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, phone.dialled) == (CallStatus.FAILED, [])
    assert "not dialled" in (ended.error or "")
    inbound = a_call(idempotency_key=None)
    call_log.forgets = "life.placed"
    with pytest.raises(DatabaseUnavailable):
        await life.place(inbound, placed(life, inbound=True, twilio_sid="CA5"))
    await phone.until(lambda: "CA5" in phone.looked_up)


async def test_a_call_that_nothing_looks_after_is_swept_up(
    start: Start, call_log: CallLog, phone: Phone, a_call: MakeCall
):
    gone = await start(Patience())
    call = await gone.place(a_call(), placed(gone))
    await gone.close()
    phone.calls["CA1"] = "no-answer"
    swept = await start(Patience())
    # Nobody has missed anything yet.
    assert await swept.sweep() == 0
    later = LocalRunner(
        call_log, phone, ScriptedMedia(), clock=lambda: gone.now() + 3600, patience=QUICK
    )
    assert await later.sweep() == 1
    ended = await later.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is CallStatus.NO_ANSWER
    await later.close()
