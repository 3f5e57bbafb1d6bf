"""What a call's record tells of its latency; whatever a tool notes under the same names."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.latency import (
    BARGE_IN,
    FIRST_SOUND,
    LATENCY_EVENTS,
    LONGEST_MS,
    RESPONSE,
    SHARE,
    Latency,
)
from agent.record.call_log import CallLog, NoSuchCall
from agent.record.models import Call, CallEvent

Events = list[tuple[str, dict[str, Any]]]

A_CALL: Events = [
    (FIRST_SOUND, {"ms": 4.2}),
    (RESPONSE, {"ms": 880, "turn": 2}),
    ("tool.called", {"ms": 99}),
    (BARGE_IN, {"ms": 40.5}),
    (RESPONSE, {"ms": 1200.5, "turn": 4}),
    (RESPONSE, {"ms": 640}),
    (SHARE, {"in_ms": 0.4, "out_ms": 0.6}),
]


def test_each_event_tells_what_it_holds() -> None:
    latency = Latency.from_events(A_CALL)
    assert latency == Latency(4.2, (880, 1200.5, 640), (40.5,), 0.4, 0.6)
    assert latency.response_p50 == 880
    assert latency.response_max == 1200.5


def test_a_call_that_nobody_answered_has_none() -> None:
    latency = Latency.from_events([("life.placed", {})])
    assert latency == Latency()
    assert (latency.response_p50, latency.response_max) == (None, None)


def test_of_two_responses_the_median_lies_between() -> None:
    assert Latency(responses=(100, 300)).response_p50 == 200


def test_a_share_may_be_known_one_way_only() -> None:
    latency = Latency.from_events([(SHARE, {"in_ms": None, "out_ms": 3})])
    assert (latency.share_in, latency.share_out) == (None, 3)


def test_the_first_sound_is_the_first_one() -> None:
    again = Latency.from_events([(FIRST_SOUND, {"ms": 5}), (FIRST_SOUND, {"ms": 900})])
    assert again.first_sound == 5


@pytest.mark.parametrize(
    "value", [None, "12", True, [], -0.5, float("nan"), float("inf"), 10**400, LONGEST_MS + 1]
)
def test_what_is_no_duration_counts_for_nothing(value: object) -> None:
    events = [(kind, {"ms": value, "in_ms": value, "out_ms": value}) for kind in LATENCY_EVENTS]
    assert Latency.from_events(events) == Latency()
    assert Latency.from_events([*events, *A_CALL]) == Latency.from_events(A_CALL)


details = st.dictionaries(
    st.sampled_from(["ms", "in_ms", "out_ms", "turn"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
)


@given(st.lists(st.tuples(st.sampled_from([*LATENCY_EVENTS, "note"]), details)))
def test_whatever_is_noted_comes_to_durations(events: Events) -> None:
    latency = Latency.from_events(events)
    known = [latency.first_sound, latency.share_in, latency.share_out]
    known += [*latency.responses, *latency.barge_ins]
    assert all(ms is None or 0 <= ms <= LONGEST_MS for ms in known)
    if latency.responses:
        assert latency.response_p50 is not None
        assert latency.response_max is not None
        assert min(latency.responses) <= latency.response_p50 <= latency.response_max
    assert len(latency.responses) <= sum(kind == RESPONSE for kind, _ in events)


async def test_the_record_gives_the_latency_of_its_own_call(
    call_log: CallLog, a_call: Callable[..., Call]
) -> None:
    call, other = await call_log.create(a_call()), await call_log.create(a_call())
    rows = [CallEvent(call_id=call.id, kind=kind, detail=detail) for kind, detail in A_CALL]
    await call_log.write([*rows, CallEvent(call_id=other.id, kind=RESPONSE, detail={"ms": 7})])
    assert await call_log.latency(call.id) == Latency.from_events(A_CALL)
    assert await call_log.latency(other.id) == Latency(responses=(7,))
    with pytest.raises(NoSuchCall):
        await call_log.latency("none")
