"""The rules of a call's life, one story at a time; `test_lifecycle_properties.py` has them all."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields
from itertools import pairwise

import pytest

from agent.lifecycle.ending import UNREACHED
from agent.lifecycle.events import (
    CancelTimer,
    Command,
    ConversationEnded,
    Dial,
    DialFailed,
    Dialled,
    DialUnclear,
    EndMedia,
    Event,
    HangUp,
    InstanceStopped,
    LookUp,
    Placed,
    Release,
    SetTimer,
    StreamEnded,
    StreamStarted,
    Terminate,
    Timer,
    TimerFired,
    TwilioStatus,
    TwimlFetched,
    Warm,
    WriteOutcome,
)
from agent.lifecycle.rules import decide
from agent.lifecycle.state import (
    Apologise,
    CallState,
    HangUpVerb,
    OpenStream,
    TransferVerb,
    new_call,
    next_verbs,
)
from agent.lifecycle.statuses import CallStatus, Direction, EndReason

SID = "CA1"


class Story:
    """A call that things happen to, one second apart unless a timer is awaited."""

    def __init__(self, *events: Event, inbound: bool = False) -> None:
        self.at = 1000.0
        self.state = new_call(Direction.INBOUND if inbound else Direction.OUTBOUND)
        self.commands: list[Command] = []
        sid = SID if inbound else None
        self.happens(Placed(self.at, inbound=inbound, twilio_sid=sid, max_duration_secs=600))
        for event in events:
            self.happens(event)

    def happens(self, event: Event) -> tuple[Command, ...]:
        self.at = max(self.at, event.at)
        self.state, commands = decide(self.state, event)
        self.commands += commands
        return commands

    def fires(self, timer: Timer) -> tuple[Command, ...]:
        return self.happens(TimerFired(self.state.deadlines[timer], timer))

    def count(self, command: type) -> int:
        return sum(isinstance(c, command) for c in self.commands)


def dialled(at: float = 1001) -> Dialled:
    return Dialled(at, SID)


def answered(at: float = 1010) -> list[Event]:
    return [dialled(), TwimlFetched(at), StreamStarted(at, "MZ1", "one")]


def kinds(commands: Iterable[Command]) -> list[type]:
    return [type(c) for c in commands if not isinstance(c, SetTimer | CancelTimer)]


def test_a_call_that_goes_well():
    call = Story()
    assert kinds(call.commands) == [Warm, Dial]
    call.happens(dialled())
    assert call.happens(TwilioStatus(1002, "ringing", SID))[-1] == WriteOutcome()
    assert call.state.status is CallStatus.RINGING
    call.happens(TwimlFetched(1010))
    assert call.state.status is CallStatus.IN_PROGRESS
    assert call.state.answered_at == 1010
    assert next_verbs(call.state) == OpenStream()
    call.happens(StreamStarted(1011, "MZ1", "one"))
    assert call.state.instance == "one"
    assert kinds(call.happens(ConversationEnded(1060, "agent"))) == [HangUp, WriteOutcome]
    assert next_verbs(call.state) == HangUpVerb()
    assert kinds(call.happens(TwilioStatus(1062, "completed", SID))) == [EndMedia, WriteOutcome]
    assert call.state.status is CallStatus.COMPLETED
    assert call.state.end_reason is EndReason.AGENT
    assert call.state.ended_at == 1062
    assert call.state.deadlines == {}


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("busy", CallStatus.BUSY, EndReason.CALLER),
        ("no-answer", CallStatus.NO_ANSWER, EndReason.CALLER),
        ("failed", CallStatus.FAILED, EndReason.SYSTEM),
        ("canceled", CallStatus.CANCELED, EndReason.SYSTEM),
        ("completed", CallStatus.COMPLETED, EndReason.SYSTEM),
    ],
)
def test_a_call_that_nobody_of_ours_ends(word: str, status: CallStatus, reason: EndReason):
    call = Story(dialled(), TwilioStatus(1002, "ringing", SID))
    assert kinds(call.happens(TwilioStatus(1020, word, SID))) == [Release, WriteOutcome]
    assert (call.state.status, call.state.end_reason) == (status, reason)


@pytest.mark.parametrize("word", ["ringing", "in-progress"])
def test_an_answered_call_whose_twiml_was_never_fetched_says_so(word: str):
    call = Story(dialled(), TwilioStatus(1002, word, SID), TwilioStatus(1076, "completed", SID))
    assert (call.state.status, call.state.end_reason) == (CallStatus.COMPLETED, EndReason.SYSTEM)
    assert call.state.error == UNREACHED


@pytest.mark.parametrize(
    "events",
    [
        [dialled(), TwimlFetched(1010)],
        answered(),
        [*answered(), StreamEnded(1020, "MZ1", 10)],
        [dialled(), Terminate(1010)],
    ],
)
def test_a_call_that_was_reached_or_that_we_ended_is_not_unreached(events: list[Event]):
    call = Story(*events, TwilioStatus(1030, "completed", SID))
    assert call.state.error is None


def test_the_caller_hangs_up():
    call = Story(*answered(), TwilioStatus(1100, "completed", SID))
    assert call.state.end_reason is EndReason.CALLER
    assert call.commands[-2:] == [EndMedia(EndReason.CALLER), WriteOutcome()]


def test_placed_twice_dials_once():
    call = Story()
    assert call.happens(Placed(1001)) == ()
    assert call.count(Dial) == 1


def test_an_inbound_call_is_never_dialled_and_answered_by_its_stream():
    call = Story(inbound=True)
    assert call.count(Dial) == 0
    assert (call.state.status, call.state.twilio_sid) == (CallStatus.RINGING, SID)
    call.happens(TwimlFetched(1001))
    assert call.state.status is CallStatus.RINGING
    call.happens(StreamStarted(1002, "MZ1", "one"))
    assert call.state.status is CallStatus.IN_PROGRESS


def test_a_refused_dial_says_why():
    call = Story(DialFailed(1001, "The number is not valid."))
    assert (call.state.status, call.state.end_reason) == (CallStatus.FAILED, EndReason.SYSTEM)
    assert call.state.error == "The number is not valid."
    assert call.count(Release) == 1


def test_an_unclear_dial_is_looked_up_and_goes_on_when_it_is_found():
    call = Story(DialUnclear(1015))
    assert LookUp(None) in call.fires(Timer.RECONCILE)
    call.happens(TwilioStatus(1021, "ringing", SID))
    assert (call.state.twilio_sid, call.state.status) == (SID, CallStatus.RINGING)
    assert set(call.state.deadlines) == {Timer.RING, Timer.RECONCILE}
    assert call.count(Dial) == 1


def test_an_unclear_dial_that_is_never_found_has_failed():
    call = Story(DialUnclear(1015))
    looked_up = 0
    while not call.state.status.is_terminal:
        assert LookUp(None) in call.fires(Timer.RECONCILE)
        looked_up += 1
        call.happens(TwilioStatus(call.at, None, None))
    assert looked_up == call.state.patience.not_found_tries
    assert (call.state.status, call.state.end_reason) == (CallStatus.FAILED, EndReason.SYSTEM)
    assert call.count(Dial) == 1


def test_twilio_that_answers_again_is_asked_quickly_whether_it_has_the_call():
    call = Story(DialUnclear(1015))
    while Timer.RING in call.state.deadlines or call.state.look_ups < 6:
        call.fires(min(call.state.deadlines, key=lambda timer: call.state.deadlines[timer]))
    call.happens(TwilioStatus(call.at, None, None))
    answered_at, tries = call.at, call.state.patience.not_found_tries
    while not call.state.status.is_terminal:
        call.fires(Timer.RECONCILE)
        call.happens(TwilioStatus(call.at, None, None))
    assert call.at - answered_at == (tries - 1) * call.state.patience.unclear_dial_secs
    assert (call.state.status, call.state.end_reason) == (CallStatus.FAILED, EndReason.SYSTEM)


def test_a_search_that_was_overtaken_does_not_end_the_call():
    call = Story(DialUnclear(1015), dialled(1016))
    for _ in range(9):
        call.happens(TwilioStatus(1017, None, None))
    assert not call.state.status.is_terminal


def test_a_call_that_twilio_took_on_after_all_is_hung_up():
    call = Story(DialFailed(1001, "no"))
    assert call.happens(TwilioStatus(1005, "ringing", SID)) == (HangUp(SID),)
    assert call.state.twilio_sid == SID
    assert call.happens(TwilioStatus(1006, "ringing", SID)) == ()
    assert call.state.status is CallStatus.FAILED


def test_news_of_another_call_is_ignored():
    call = Story(*answered())
    before = call.state
    call.happens(TwilioStatus(1020, "completed", "CA2"))
    assert call.state == before


def test_when_nobody_answers_and_no_callback_comes_twilio_is_asked():
    call = Story(dialled())
    assert call.fires(Timer.RING)[0] == LookUp(SID)
    assert call.at > 1000 + call.state.ring_timeout_secs
    call.happens(TwilioStatus(call.at, "no-answer", SID))
    assert call.state.status is CallStatus.NO_ANSWER


@pytest.mark.parametrize("word", ["busy", "no-answer", "failed", "canceled"])
@pytest.mark.parametrize("lost", ["all", "the last"])
def test_what_twilio_knows_of_an_unanswered_call_is_known_15_s_later(word: str, lost: str):
    for ended_after in range(1, 60):
        call = Story(dialled())
        if lost == "the last":
            call.happens(TwilioStatus(1002, "ringing", SID))
        while not call.state.status.is_terminal:
            call.fires(min(call.state.deadlines, key=call.state.deadlines.__getitem__))
            at_twilio = word if call.at >= 1001 + ended_after else "ringing"
            call.happens(TwilioStatus(call.at, at_twilio, SID))
        assert call.at - (1001 + ended_after) <= 15
        assert call.state.status.value == word.replace("-", "_")


def test_a_dial_that_twilio_never_got_has_failed_within_15_s():
    call = Story(DialUnclear(1002))
    while not call.state.status.is_terminal:
        call.fires(Timer.RECONCILE)
        call.happens(TwilioStatus(call.at, None, None))
    assert call.at - 1002 <= 15


def pauses(call: Story, most: int) -> list[float]:
    """The pauses between look-ups that bring no news: Twilio's REST API fails."""
    times = [call.at]
    while len(times) <= most and not call.state.status.is_terminal:
        call.fires(Timer.RECONCILE)
        times.append(call.at)
    return [after - before for before, after in pairwise(times)]


@pytest.mark.parametrize("why", ["its stream has ended", "it is to be hung up"])
def test_a_call_that_nobody_here_hears_is_asked_for_each_minute_at_least(why: str):
    call = Story(*answered(), StreamEnded(1030, "MZ1", 20))
    if why == "it is to be hung up":
        call.happens(Terminate(1031))
    assert pauses(call, 8)[1:] == [10, 20, 40, 60, 60, 60, 60]


def test_a_call_in_a_stream_or_transferred_is_asked_for_every_five_minutes_at_most():
    talks = Story(*answered())
    assert set(pauses(talks, 2)) <= {299.0, 300.0, 310.0}
    transferred = Story(*answered())
    transferred.happens(ConversationEnded(1030, "agent", transfer_to="+15550100199"))
    transferred.happens(StreamEnded(1031, "MZ1", 21))
    transferred.happens(TwimlFetched(1032))
    assert max(pauses(transferred, 9)) == 300


def test_a_call_that_began_with_other_pauses_keeps_them():
    earlier = Story(*answered()).state.to_json()
    del earlier["patience"]["unheard_at_most_secs"]
    state = CallState.from_json(earlier)
    assert state.patience.unheard_at_most_secs == state.patience.reconcile_at_most_secs


def test_a_phone_that_may_ring_for_long_is_not_hung_up_by_look_ups():
    call = Story()
    call.state = new_call(Direction.OUTBOUND)
    call.happens(Placed(1000, ring_timeout_secs=600))
    call.happens(dialled())
    while call.at < 1000 + 600:
        call.fires(Timer.RECONCILE)
        call.happens(TwilioStatus(call.at, "ringing", SID))
    assert call.count(HangUp) == 0
    assert call.state.status is CallStatus.RINGING


def test_a_call_in_twilios_queue_has_more_time_than_one_that_rings():
    def time_until_hung_up(word: str) -> float:
        call = Story(dialled())
        while not call.count(HangUp):
            call.fires(min(call.state.deadlines, key=call.state.deadlines.__getitem__))
            call.happens(TwilioStatus(call.at, word, SID))
        return call.at - 1000

    assert time_until_hung_up("queued") > Story().state.patience.queue_secs
    assert time_until_hung_up("ringing") < Story().state.patience.queue_secs


def test_the_time_to_ring_begins_when_it_rings():
    call = Story(dialled())
    first = call.state.deadlines[Timer.RING]
    call.happens(TwilioStatus(1050, "ringing", SID))
    assert call.state.deadlines[Timer.RING] == first + 50
    call.happens(TwilioStatus(1060, "ringing", SID))
    assert call.state.deadlines[Timer.RING] == first + 50


def test_terminate_before_twilio_answered_the_dial_waits_for_the_sid():
    call = Story()
    assert kinds(call.happens(Terminate(1000.5))) == [WriteOutcome]
    assert HangUp(SID) in call.happens(dialled())
    call.happens(TwilioStatus(1002, "canceled", SID))
    assert (call.state.status, call.state.end_reason) == (CallStatus.CANCELED, EndReason.API)


def test_terminate_of_a_talk_ends_the_media_and_hangs_up_once():
    call = Story(*answered())
    assert kinds(call.happens(Terminate(1020))) == [EndMedia, HangUp, WriteOutcome]
    assert kinds(call.happens(Terminate(1021))) == []
    assert next_verbs(call.state) == HangUpVerb()
    call.happens(TwilioStatus(1022, "completed", SID))
    assert call.state.end_reason is EndReason.API


def test_a_stream_that_starts_after_terminate_is_ended():
    call = Story(dialled(), TwimlFetched(1010), Terminate(1011))
    assert EndMedia(EndReason.API) in call.happens(StreamStarted(1012, "MZ1", "one"))


def test_a_stream_that_starts_after_the_end_is_ended_and_changes_nothing():
    call = Story(*answered(), TwilioStatus(1020, "completed", SID))
    over = call.state
    assert call.happens(StreamStarted(1021, "MZ2", "one")) == (EndMedia(EndReason.CALLER),)
    assert call.state == over


def test_a_hang_up_is_asked_for_until_twilio_confirms():
    call = Story(*answered(), Terminate(1020))
    waits = []
    for _ in range(3):
        before = call.at
        commands = call.fires(Timer.RECONCILE)
        assert [c for c in commands if isinstance(c, HangUp | LookUp)] == [HangUp(SID), LookUp(SID)]
        call.happens(TwilioStatus(call.at, "in-progress", SID))
        waits.append(call.at - before)
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_a_twilio_that_never_confirms_does_not_keep_the_record_open():
    call = Story(*answered(), Terminate(1020))
    while not call.state.status.is_terminal:
        call.fires(Timer.RECONCILE)
    assert (call.state.status, call.state.end_reason) == (CallStatus.COMPLETED, EndReason.API)
    assert call.state.hang_ups == call.state.patience.tries
    assert call.state.error


@pytest.mark.parametrize("reason", ["no_model", "system", "nonsense"])
def test_an_apology_is_heard_before_the_call_is_hung_up(reason: str):
    call = Story(*answered())
    commands = call.happens(ConversationEnded(1012, reason, error="Gemini refused a session."))
    assert kinds(commands) == [WriteOutcome]
    call.happens(StreamEnded(1012, "MZ1", 2.0))
    call.happens(TwimlFetched(1013))
    key = "no_model" if reason == "no_model" else "system"
    assert next_verbs(call.state) == Apologise(key)
    assert HangUp(SID) in call.fires(Timer.HANG_UP)
    assert next_verbs(call.state) == HangUpVerb()
    call.happens(TwilioStatus(call.at, "completed", SID))
    assert call.state.end_reason == key
    assert call.state.error == "Gemini refused a session."


def test_an_apology_waits_for_the_answer():
    call = Story(dialled(), ConversationEnded(1003, "no_model"))
    assert Timer.HANG_UP not in call.state.deadlines
    call.happens(TwimlFetched(1010))
    assert next_verbs(call.state) == Apologise("no_model")
    assert call.state.deadlines[Timer.HANG_UP] > 1010


def test_a_caller_who_was_handed_on_may_talk_for_longer_than_the_agent():
    call = Story(*answered())
    limit = call.state.deadlines[Timer.LIMIT]
    call.happens(ConversationEnded(1100, "agent", transfer_to="+15550123"))
    assert Timer.HANG_UP in call.state.deadlines
    call.happens(TwimlFetched(1101))
    assert next_verbs(call.state) == TransferVerb("+15550123")
    assert Timer.HANG_UP not in call.state.deadlines
    assert call.state.deadlines[Timer.LIMIT] > limit
    assert call.count(HangUp) == 0
    call.happens(TwilioStatus(3000, "completed", SID))
    assert (call.state.status, call.state.end_reason) == (CallStatus.COMPLETED, EndReason.AGENT)


def test_a_caller_whose_agent_failed_is_told_so_and_handed_on():
    call = Story(*answered())
    call.happens(ConversationEnded(1100, "no_model", error="silent", transfer_to="+15550123"))
    call.happens(TwimlFetched(1101))
    assert next_verbs(call.state) == TransferVerb("+15550123", apologises=True)
    call.happens(TwilioStatus(3000, "completed", SID))
    assert (call.state.end_reason, call.state.error) == (EndReason.NO_MODEL, "silent")


def test_a_transfer_that_twilio_never_fetches_is_hung_up():
    call = Story(*answered(), ConversationEnded(1100, "agent", transfer_to="+15550123"))
    assert HangUp(SID) in call.fires(Timer.HANG_UP)


def test_the_first_reason_stays():
    call = Story(*answered(), ConversationEnded(1020, "silence"), Terminate(1021))
    call.happens(ConversationEnded(1022, "limit"))
    assert call.state.end_reason is EndReason.SILENCE


def test_the_limit_is_behind_the_media_sides_own():
    call = Story(*answered(1010))
    assert call.state.deadlines[Timer.LIMIT] > 1010 + 600
    assert kinds(call.fires(Timer.LIMIT)) == [EndMedia, HangUp, WriteOutcome]
    assert call.state.end_reason is EndReason.LIMIT


def test_a_stream_that_dies_is_answered_with_a_new_one():
    call = Story(*answered(), StreamEnded(1060, "MZ1", 50))
    assert call.state.status is CallStatus.IN_PROGRESS
    assert call.state.deadlines[Timer.RECONCILE] < 1070
    call.happens(TwimlFetched(1060.2))
    assert next_verbs(call.state) == OpenStream()
    call.happens(StreamStarted(1061, "MZ2", "two"))
    assert call.state.deadlines[Timer.RECONCILE] > 1100
    assert call.state.instance == "two"


def test_three_short_streams_in_a_row_are_the_end():
    call = Story(dialled())
    for number in range(3):
        call.happens(TwimlFetched(1010 + number))
        assert next_verbs(call.state) == OpenStream()
        call.happens(StreamStarted(1010 + number, f"MZ{number}", "one"))
        call.happens(StreamEnded(1010 + number, f"MZ{number}", 0.5))
        call.happens(StreamEnded(1010 + number, f"MZ{number}", 0.5))
    call.happens(TwimlFetched(1014))
    assert next_verbs(call.state) == Apologise("system")
    assert call.state.end_reason is EndReason.SYSTEM


def test_a_long_stream_forgives_short_ones():
    call = Story(dialled(), TwimlFetched(1010))
    for number, carried in enumerate([0.1, 0.1, 60, 0.1, 0.1]):
        call.happens(StreamStarted(1010, f"MZ{number}", "one"))
        call.happens(StreamEnded(1010, f"MZ{number}", carried))
    assert next_verbs(call.state) == OpenStream()


def test_streams_that_never_come_do_not_go_round_for_ever():
    call = Story(dialled())
    fetches = 0
    while next_verbs(call.state) == OpenStream():
        call.happens(TwimlFetched(1010))
        fetches += 1
        assert fetches < 9
    assert next_verbs(call.state) == Apologise("system")


def test_the_end_of_a_stream_that_was_replaced_changes_nothing():
    call = Story(*answered(), StreamStarted(1040, "MZ2", "two"), StreamEnded(1041, "MZ1", 30))
    assert (call.state.stream_sid, call.state.instance) == ("MZ2", "two")


def test_a_lost_completed_callback_is_found_out():
    call = Story(*answered(), StreamEnded(1060, "MZ1", 50))
    assert LookUp(SID) in call.fires(Timer.RECONCILE)
    call.happens(TwilioStatus(call.at, "completed", SID))
    assert (call.state.status, call.state.end_reason) == (CallStatus.COMPLETED, EndReason.CALLER)


CUT_OFF = [InstanceStopped(1060), StreamEnded(1060, "MZ1", 50)]


@pytest.mark.parametrize("order", [CUT_OFF, CUT_OFF[::-1]])
@pytest.mark.parametrize("status", ["completed", None])
def test_a_talk_that_ends_with_its_instance_was_not_ended_by_the_caller(
    order: list[Event], status: str | None
):
    call = Story(*answered(), *order)
    assert (call.state.status, call.state.end_reason) == (CallStatus.IN_PROGRESS, None)
    assert LookUp(SID) in call.fires(Timer.RECONCILE)
    call.happens(TwilioStatus(call.at, status, SID))
    assert (call.state.status, call.state.end_reason) == (CallStatus.COMPLETED, EndReason.SYSTEM)
    assert call.state.error == "The server stopped while the call went on."


@pytest.mark.parametrize(
    "sign",
    [
        TwimlFetched(1061),
        StreamStarted(1061, "MZ2", "two"),
        # Another instance took the one for stopped that goes on with it.
        StreamEnded(1061, "MZ1", 51),
    ],
)
def test_a_talk_that_was_taken_over_ends_as_any_other(sign: Event):
    call = Story(*answered(), *CUT_OFF, sign, TwilioStatus(1070, "completed", SID))
    assert (call.state.end_reason, call.state.error) == (EndReason.CALLER, None)


def test_an_instance_that_stops_takes_no_reason_back():
    call = Story(*answered(), ConversationEnded(1059, "agent"), *CUT_OFF)
    call.happens(TwilioStatus(1070, "completed", SID))
    assert (call.state.end_reason, call.state.error) == (EndReason.AGENT, None)


def test_a_talk_that_twilio_knows_nothing_of_is_over():
    call = Story(*answered())
    assert LookUp(SID) in call.fires(Timer.RECONCILE)
    call.happens(TwilioStatus(call.at, None, SID))
    assert call.state.status is CallStatus.COMPLETED


def test_a_timer_that_was_set_anew_does_not_fire_early():
    call = Story(*answered())
    early = call.state.deadlines[Timer.RECONCILE]
    call.happens(StreamStarted(1200, "MZ2", "two"))
    assert call.happens(TimerFired(early, Timer.RECONCILE)) == ()


def test_a_state_comes_back_from_json_in_full():
    state = Story(*answered()).state
    assert state.deadlines
    values = json.loads(json.dumps(state.to_json()))
    assert values.keys() == {field.name for field in fields(CallState)}
    assert CallState.from_json(values) == state


def test_a_newer_versions_state_is_refused():
    values = Story(*answered()).state.to_json()
    with pytest.raises(ValueError, match="rules 99"):
        CallState.from_json(values | {"rules": 99})


def test_the_rules_need_nothing_but_the_standard_library():
    code = (
        "import sys, agent.lifecycle.rules\n"
        "names = {m.split('.')[0] for m in sys.modules if not m.startswith('_')}\n"
        "print(sorted(names - set(sys.stdlib_module_names) - {'agent', 'sitecustomize'}))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_stream_that_starts_after_the_end_is_let_go():
    call = Story(Dialled(1001, SID), TwilioStatus(1002, "canceled", SID))
    assert list(call.happens(StreamStarted(1003, "MZ1", "one"))) == [EndMedia(EndReason.SYSTEM)]
    assert call.state.stream_sid is None
