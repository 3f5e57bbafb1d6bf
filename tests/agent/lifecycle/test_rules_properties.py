"""What holds for every call, whatever comes, in whatever order, twice, late, or never."""

import json
from dataclasses import replace
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given
from hypothesis.strategies import DrawFn

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
    WriteOutcome,
)
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState, new_call, next_verbs
from agent.lifecycle.statuses import CallStatus, Direction, EndReason

RANK = {CallStatus.INITIATED: 0, CallStatus.RINGING: 1, CallStatus.IN_PROGRESS: 2}
SIDS = st.sampled_from(["CA1", "CA1", "CA1", "CA2"])
STREAMS = st.sampled_from(["MZ1", "MZ2", "MZ3", "MZ4"])
TIMES = st.floats(1_000, 40_000)
LIVE_WORDS = ["queued", "initiated", "ringing", "in-progress", "answered"]
LAST_WORDS = ["completed", "busy", "no-answer", "failed", "canceled"]
WORDS = st.sampled_from([*LIVE_WORDS, *LAST_WORDS, "something-new", None])


def events() -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(Placed, TIMES),
        st.builds(Dialled, TIMES, SIDS),
        st.builds(DialFailed, TIMES, st.just("no")),
        st.builds(DialUnclear, TIMES),
        st.builds(TwilioStatus, TIMES, WORDS, st.none() | SIDS),
        st.builds(TwimlFetched, TIMES),
        st.builds(StreamStarted, TIMES, STREAMS, st.sampled_from(["one", "two"])),
        st.builds(StreamEnded, TIMES, STREAMS, st.floats(0, 100)),
        st.builds(InstanceStopped, TIMES),
        st.builds(
            ConversationEnded,
            TIMES,
            st.sampled_from([*EndReason, "nonsense"]),
            st.sampled_from([None, None, "+15550123"]),
        ),
        st.builds(Terminate, TIMES),
        st.builds(TimerFired, TIMES, st.sampled_from(Timer)),
    )


@st.composite
def histories(draw: DrawFn) -> tuple[CallState, list[Event]]:
    """A new call and what happens to it; some of it twice and much later."""
    happened = draw(st.lists(events(), max_size=30))
    if happened:
        happened += draw(st.lists(st.sampled_from(happened), max_size=10))
    inbound = draw(st.booleans())
    sid = "CA1" if inbound else None
    placed = Placed(1_000, inbound=inbound, twilio_sid=sid, max_duration_secs=600)
    return new_call(Direction.INBOUND if inbound else Direction.OUTBOUND), [placed, *happened]


def run(state: CallState, happened: list[Event]) -> list[tuple[CallState, list[Command]]]:
    steps: list[tuple[CallState, list[Command]]] = [(state, [])]
    for event in happened:
        state, commands = decide(state, event)
        steps.append((state, list(commands)))
    return steps


@given(histories())
def test_what_every_history_keeps(history: tuple[CallState, list[Event]]):
    steps = run(*history)
    armed: set[Timer] = set()
    for (before, _), (after, commands) in pairwise(steps):
        if before.status.is_terminal:
            # Nothing changes after the end, but for a SID that was not known.
            assert replace(after, twilio_sid=before.twilio_sid) == before
            assert before.twilio_sid in (None, after.twilio_sid)
            assert all(isinstance(c, HangUp | EndMedia) for c in commands)
            continue

        assert RANK.get(after.status, 3) >= RANK.get(before.status, 3)
        if before.end_reason is not None:
            assert after.end_reason == before.end_reason
        if before.twilio_sid is not None:
            assert after.twilio_sid == before.twilio_sid
        if before.status is CallStatus.IN_PROGRESS and after.status.is_terminal:
            assert after.status in (CallStatus.COMPLETED, CallStatus.FAILED)

        outcome_changed = (before.status, before.end_reason) != (after.status, after.end_reason)
        assert [WriteOutcome()] * outcome_changed == [c for c in commands if c == WriteOutcome()]

        for command in commands:
            if isinstance(command, SetTimer):
                armed.add(command.timer)
            elif isinstance(command, CancelTimer):
                armed.discard(command.timer)
        armed &= set(after.deadlines)  # one that has fired is not cancelled
        assert armed == set(after.deadlines)

        given_back = [c for c in commands if isinstance(c, Release | EndMedia)]
        if after.status.is_terminal:
            assert after.end_reason is not None
            assert after.ended_at is not None
            assert armed == set()
            expected = Release if after.answered_at is None else EndMedia
            assert isinstance(given_back[-1], expected)
            assert sum(isinstance(c, Release) for c in given_back) <= 1
        else:
            assert armed, "a call that lives waits for something"
            assert not any(isinstance(c, Release) for c in given_back)
            assert not given_back or after.end_reason is not None
            assert all(c.at >= history[1][0].at for c in commands if isinstance(c, SetTimer))


@given(histories())
def test_nothing_is_ever_dialled_twice(history: tuple[CallState, list[Event]]):
    state, happened = history
    steps = run(state, happened)
    dials = sum(isinstance(c, Dial) for _, commands in steps for c in commands)
    assert dials == (1 if state.direction is Direction.OUTBOUND else 0)


@given(histories())
def test_a_state_goes_through_json_and_on_as_if_it_had_not(
    history: tuple[CallState, list[Event]],
):
    state, happened = history
    for event in happened:
        copy = CallState.from_json(json.loads(json.dumps(state.to_json())))
        assert copy == state
        assert decide(copy, event) == decide(state, event)
        assert next_verbs(copy) == next_verbs(state)
        state, _ = decide(state, event)


@st.composite
def twilios(draw: DrawFn) -> list[str | None]:
    """What Twilio answers, look-up after look-up; the last answer is repeated for ever."""
    return draw(st.lists(st.sampled_from([*LIVE_WORDS, None, "unreachable"]), min_size=1))


@given(histories(), twilios(), st.booleans())
def test_every_call_ends_by_its_timers_alone(
    history: tuple[CallState, list[Event]], answers: list[str | None], obeys: bool
):
    """Whatever happened before, and whatever Twilio says of it or keeps for itself."""
    steps = run(*history)
    state = steps[-1][0]
    hung_up = any(isinstance(c, HangUp) for _, commands in steps for c in commands)
    waiting = list(answers)
    for _ in range(500):
        if state.status.is_terminal:
            break
        timer, at = min(state.deadlines.items(), key=lambda item: item[1])
        state, commands = decide(state, TimerFired(at, timer))
        for command in commands:
            if isinstance(command, HangUp):
                hung_up = True
            if not isinstance(command, LookUp):
                continue
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if hung_up and obeys:
                answer = "completed"
            if answer != "unreachable":
                sid = command.twilio_sid or (None if answer is None else "CA1")
                state, _ = decide(state, TwilioStatus(at, answer, sid))
    assert state.status.is_terminal
    assert state.end_reason is not None
