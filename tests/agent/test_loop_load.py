"""How busy a loop is: steps up and down, and overload."""

from hypothesis import given
from hypothesis import strategies as st

from agent.loop_load import DOWN_SECS, UP_SECS, LoopLoad


def after(load: LoopLoad, late_secs: float, beats: int) -> LoopLoad:
    for _ in range(beats):
        load.observe(late_secs)
    return load


def test_an_idle_loop_joins_nothing() -> None:
    assert after(LoopLoad(0.05), 0.001, 1_000).packets == 1


def test_a_busy_loop_joins_two_and_a_busier_one_three() -> None:
    assert after(LoopLoad(), UP_SECS[0] * 1.2, 200).packets == 2
    assert after(LoopLoad(), UP_SECS[1] * 1.2, 200).packets == 3


def test_one_long_stall_joins_nothing() -> None:
    load = after(LoopLoad(), 0.001, 100)
    load.observe(5.0)

    assert after(load, 0.001, 1).packets == 1


def test_it_stops_joining_only_when_the_loop_is_much_faster_and_stays_so() -> None:
    load = after(LoopLoad(), UP_SECS[0] * 1.2, 200)

    assert after(load, (UP_SECS[0] + DOWN_SECS[0]) / 2, 1_000).packets == 2
    after(load, 0.0, 30)
    assert load.packets == 2, "it is not quiet for long"
    assert after(load, 0.0, 200).packets == 1


@given(st.lists(st.floats(0, 1), max_size=300))
def test_there_are_never_fewer_than_one_or_more_than_three(beats: list[float]) -> None:
    load = LoopLoad(0.1)
    for late_secs in beats:
        load.observe(late_secs)
        assert 1 <= load.packets <= 3


def test_it_is_overloaded_while_the_95th_percentile_of_five_seconds_is_late() -> None:
    load = after(LoopLoad(0.1), 0.0, 100)

    assert not after(load, 0.1, 4).is_overloaded
    assert after(load, 0.1, 2).is_overloaded
    assert after(load, 0.0, 80).is_overloaded
    assert not after(load, 0.0, 20).is_overloaded


def test_long_stalls_of_a_loop_that_has_just_started_are_no_overload() -> None:
    assert not after(LoopLoad(0.1), 0.4, 8).is_overloaded
    assert after(LoopLoad(0.1), 0.4, 9).is_overloaded


@given(st.lists(st.floats(0, 1), max_size=300))
def test_what_is_long_past_is_forgotten(beats: list[float]) -> None:
    load = LoopLoad(0.1)
    for late_secs in beats:
        load.observe(late_secs)

    assert not after(load, 0.0, 101).is_overloaded


def test_without_a_limit_it_is_never_overloaded() -> None:
    assert not after(LoopLoad(), 1.0, 1_000).is_overloaded
