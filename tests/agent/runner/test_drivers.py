"""Both drivers of a call's life, event by event: in this process, and in workflows of Temporal."""

import asyncio
from collections.abc import Callable

import pytest

from agent.lifecycle.events import (
    ConversationEnded,
    StreamEnded,
    StreamStarted,
    Terminate,
    TwilioStatus,
    TwimlFetched,
)
from agent.lifecycle.state import TransferVerb, next_verbs
from agent.lifecycle.statuses import CallStatus, Direction, EndReason
from agent.ports import CallLifecycle, DialRefused, DialRequest, DialUncertain
from agent.record.call_log import CallLog, IdempotencyConflict
from agent.record.models import Call
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


async def test_a_call_from_the_dial_to_its_end(
    life: CallLifecycle,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    a_call: MakeCall,
):
    call = await life.place(a_call(), placed(life))
    assert (call.status, call.twilio_sid) == (CallStatus.INITIATED, "CA1")
    at = call.created_at.timestamp()
    assert phone.dialled == [DialRequest(call.id, "+15550100", "+15550199", 30, at)]
    await life.tell(call.id, TwilioStatus(life.now(), "ringing", "CA1"))
    assert (await answer(life, call)).status is CallStatus.IN_PROGRESS
    phone.obeys = False
    state = await life.tell(call.id, ConversationEnded(life.now(), "agent"))
    assert not state.status.is_terminal
    await phone.until(lambda: "CA1" in phone.hung_up)
    await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)
    assert ended.answered_at is not None
    assert ended.ended_at is not None
    assert ended.answered_at <= ended.ended_at
    await media.until(call, "warm", "end agent")
    assert [(c.id, c.status) for c in ends.calls] == [(call.id, CallStatus.COMPLETED)]
    assert [e.detail for e in await call_log.events(call.id) if e.kind == "life.status"] == [
        {"status": "ringing", "end_reason": None},
        {"status": "in_progress", "end_reason": None},
        {"status": "in_progress", "end_reason": "agent"},
        {"status": "completed", "end_reason": "agent"},
    ]
    happened = await kinds(call_log, call)
    assert happened[0] == "life.placed"
    assert happened.index("life.dialled") < happened.index("twilio.status")


async def test_a_refused_dial_is_a_failed_call(
    life: CallLifecycle, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    phone.dial_answer = DialRefused("The number is not valid.", 21211)
    call = await life.place(a_call(), placed(life))
    assert (call.status, call.error) == (CallStatus.FAILED, "The number is not valid.")
    await media.until(call, "warm", "release")


@pytest.mark.parametrize("error", [DialUncertain(), TimeoutError(), RuntimeError("a bug")])
async def test_an_unclear_dial_is_found_and_never_repeated(
    life: CallLifecycle, phone: Phone, a_call: MakeCall, error: Exception
):
    phone.dial_answer = error
    phone.calls["CA7"] = "ringing"
    call = await life.place(a_call(), placed(life))
    assert not call.status.is_terminal
    await phone.until(lambda: None in phone.looked_up)
    await life.tell(call.id, Terminate(life.now()))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.twilio_sid == "CA7"
    assert ended.end_reason is EndReason.API
    assert len(phone.dialled) == 1


async def test_an_unclear_dial_that_was_never_placed_has_failed(
    life: CallLifecycle, phone: Phone, a_call: MakeCall
):
    phone.dial_answer = DialUncertain()
    call = await life.place(a_call(), placed(life))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.FAILED, EndReason.SYSTEM)
    assert len(phone.dialled) == 1


async def test_the_same_request_again_dials_once(
    life: CallLifecycle, phone: Phone, a_call: MakeCall
):
    def request(fingerprint: str) -> Call:
        return a_call(idempotency_key="k", request_fingerprint=fingerprint)

    calls = await asyncio.gather(
        *(life.place(request("f"), placed(life)) for _ in range(5)),
    )
    assert len({call.id for call in calls}) == 1
    # Whoever comes second waits for the one dial, too.
    assert {call.twilio_sid for call in calls} == {"CA1"}
    with pytest.raises(IdempotencyConflict):
        await life.place(request("other"), placed(life))
    assert len(phone.dialled) == 1


async def test_an_inbound_call_is_opened_once(
    life: CallLifecycle, call_log: CallLog, phone: Phone, a_call: MakeCall
):
    phone.calls["CA5"] = "ringing"
    event = placed(life, inbound=True, twilio_sid="CA5")
    calls = await asyncio.gather(*(life.place(a_call(), event) for _ in range(3)))
    assert len({call.id for call in calls}) == 1
    call = calls[0]
    assert (call.direction, call.status, call.twilio_sid) == (
        Direction.INBOUND,
        CallStatus.RINGING,
        "CA5",
    )
    assert phone.dialled == []
    assert (await answer(life, call)).status is CallStatus.IN_PROGRESS


async def test_lost_callbacks_are_found_out(life: CallLifecycle, phone: Phone, a_call: MakeCall):
    call = await life.place(a_call(), placed(life))
    await answer(life, call)
    phone.calls["CA1"] = "completed"
    await life.tell(call.id, StreamEnded(life.now(), "MZ1", 30))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.CALLER)
    assert phone.hung_up == []


async def test_a_phone_that_rings_off_without_a_word(
    life: CallLifecycle, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life, ring_timeout_secs=0))
    phone.calls["CA1"] = "no-answer"
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is CallStatus.NO_ANSWER
    await media.until(call, "warm", "release")


async def test_the_longest_duration_ends_a_call(
    life: CallLifecycle, phone: Phone, media: ScriptedMedia, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life, max_duration_secs=0))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.LIMIT)
    assert phone.hung_up[0] == "CA1"


async def test_a_failing_telephone_is_asked_again_and_kept_in_the_record(
    life: CallLifecycle, call_log: CallLog, phone: Phone, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    phone.failures_from_hang_up = 3
    await life.tell(call.id, Terminate(life.now()))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.API)
    await life.close()
    failed = [e.detail for e in await call_log.events(call.id) if e.kind == "telephone.failed"]
    assert len(failed) == 3
    assert {"what": "hang_up", "error": "ConnectionError"} in failed


async def test_news_at_once_is_decided_one_after_the_other(
    life: CallLifecycle, call_log: CallLog, ends: Ends, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    now = life.now()
    news = [TwilioStatus(now, "ringing", "CA1"), TwilioStatus(now, "completed", "CA1")]
    await asyncio.gather(*(life.tell(call.id, event) for event in news * 10))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status is CallStatus.COMPLETED

    async def all_are_recorded() -> bool:
        # A look-up may have come in between; it was answered with "queued".
        found = [e for e in await call_log.events(call.id) if e.kind == "twilio.status"]
        return sum(e.detail["status"] in ("ringing", "completed") for e in found) == 20

    await eventually(all_are_recorded)
    await ends.came.wait()
    await life.close()
    assert len(ends.calls) == 1


# What each word means is said in the rules, which have tests of their own.
@pytest.mark.parametrize(
    "word",
    [
        "no-answer",
        *(pytest.param(word, marks=pytest.mark.long) for word in ("busy", "canceled", "failed")),
    ],
)
async def test_a_lost_callback_of_an_unanswered_call_is_made_up_for(
    life: CallLifecycle, phone: Phone, media: ScriptedMedia, a_call: MakeCall, word: str
):
    call = await life.place(a_call(), placed(life))
    phone.calls["CA1"] = word
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.status.value == word.replace("-", "_")
    assert len(phone.dialled) == 1
    await media.until(call, "warm", "release")


async def test_callbacks_after_the_end_change_nothing_and_are_recorded(
    life: CallLifecycle, call_log: CallLog, phone: Phone, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    await life.tell(call.id, TwilioStatus(life.now(), "busy", "CA1"))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    for word in ("ringing", "completed", "no-answer"):
        state = await life.tell(call.id, TwilioStatus(life.now(), word, "CA1"))
        assert state.status is CallStatus.BUSY
    assert (await life.record(call.id)).status is CallStatus.BUSY
    words = [e.detail["status"] for e in await call_log.events(call.id) if "status" in e.detail]
    assert words[-3:] == ["ringing", "completed", "no-answer"]
    assert len(phone.dialled) == 1


async def test_a_stream_that_comes_after_the_end_is_closed(
    life: CallLifecycle, media: ScriptedMedia, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    await life.tell(call.id, TwilioStatus(life.now(), "canceled", "CA1"))
    assert await life.ended(call.id, SECS) is not None
    await life.tell(call.id, StreamStarted(life.now(), "MZ1", "here"))
    await media.until(call, "warm", "release", "end system")


async def test_a_terminated_call_is_hung_up_once_whatever_it_does(
    life: CallLifecycle, phone: Phone, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    phone.calls["CA1"] = "ringing"
    await asyncio.gather(*(life.tell(call.id, Terminate(life.now())) for _ in range(3)))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert ended.end_reason is EndReason.API
    # An unanswered call that is ended is `completed` at Twilio: nobody talked, so not here.
    assert len(phone.dialled) == 1
    assert phone.hung_up[0] == "CA1"


async def test_a_caller_is_transferred_by_the_next_twiml(
    life: CallLifecycle, phone: Phone, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    over = ConversationEnded(life.now(), "agent", transfer_to="+15550111")
    await life.tell_until_kept(call.id, over)
    # Whoever is asked now, on whichever instance, reads it in the record.
    assert (await life.state(call.id)).transfer_to == "+15550111"
    state = await life.tell(call.id, TwimlFetched(life.now()))
    assert next_verbs(state) == TransferVerb("+15550111")
    phone.calls["CA1"] = "completed"
    await life.tell(call.id, StreamEnded(life.now(), "MZ1", 30))
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)


async def test_the_record_has_the_same_events_whichever_driver_ran_the_call(
    life: CallLifecycle, call_log: CallLog, phone: Phone, a_call: MakeCall
):
    call = await life.place(a_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    now = life.now()
    await life.tell_or_assume(call.id, TwilioStatus(now, "in-progress", "CA1"), TwimlFetched(now))
    await life.tell(call.id, StreamStarted(now, "MZ1", "here"))
    # Twilio has ended it when the stream has: no look-up is to find that first.
    phone.obeys = False
    await life.tell_until_kept(call.id, ConversationEnded(now, "silence"))
    await life.tell(call.id, StreamEnded(now, "MZ1", 30))
    phone.calls["CA1"] = "completed"
    ended = await life.ended(call.id, SECS)
    assert ended is not None
    # Look-ups come whenever their timers fire.
    timed = {"life.timer", "twilio.status"}
    happened = [kind for kind in await kinds(call_log, call) if kind not in timed]
    looked_up = happened.index("life.stream_ended")
    assert happened[: looked_up + 1] == [
        "life.placed",
        "life.dialled",
        "life.status",
        "twilio.twiml",
        "life.stream_started",
        "life.conversation_ended",
        "life.status",
        "life.stream_ended",
    ]
