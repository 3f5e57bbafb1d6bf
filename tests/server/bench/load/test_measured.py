"""What many calls come to within a window."""

import pytest

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.measured import Window
from server.bench.load.playout import Gap
from server.bench.load.sweep import missed_targets
from tests.server.bench.load.samples import WINDOW, a_call, a_cost, a_load


def test_only_what_left_within_the_window_counts() -> None:
    load = a_load(a_call())
    assert load.up.ms is not None
    assert load.up.ms.count == 10
    assert load.up.ms.p99 == pytest.approx(2.0)
    assert load.up.is_whole
    assert load.down.is_whole


def test_first_chunks_are_told_from_all_others() -> None:
    load = a_load(a_call())
    assert load.first_chunk_ms is not None
    assert load.down.ms is not None
    assert (load.first_chunk_ms.count, load.down.ms.count) == (5, 10)


@pytest.mark.parametrize(("second", "lost"), [(9, 0), (10, 1), (19, 1), (20, 0), (24, 0)])
def test_what_was_lost_counts_when_it_left(second: int, lost: int) -> None:
    load = a_load(a_call(lost=second), a_call(1))
    assert (load.up.lost, load.down.lost) == (lost, lost)
    assert load.up.is_whole is not bool(lost)


def test_a_call_that_is_silent_is_a_problem_and_not_averaged_away() -> None:
    silent = LoadedCall(3, "+15550000003")
    load = a_load(a_call(), silent)
    assert load.problems == [
        "call 3: nothing reached the model",
        "call 3: nothing reached the phone",
    ]


def test_costs_are_per_call() -> None:
    load = a_load(a_call(), a_call(1), cost=a_cost(cpu_secs=5.0))
    assert load.core_share == 0.5
    assert load.cpu_per_call_minute == pytest.approx(15.0)
    assert load.mb_per_call == pytest.approx(50.0)


def test_a_gap_that_the_load_generator_made_itself_is_told_apart() -> None:
    call = a_call()
    call.playout.gaps = [Gap(9.0, 5), Gap(12.0, 30), Gap(15.0, 30)]
    stalled = Window(10.0, 20.0, stalls=[(12.005, 40)])
    load = a_load(call, window=stalled)
    assert (load.gaps, load.own_gaps) == (1, 1)
    assert load.gap_ms is not None
    assert load.gap_ms.count == 2
    assert a_load(call, window=WINDOW).gaps == 2


def test_a_load_that_holds_misses_nothing() -> None:
    assert missed_targets(a_load(a_call(latency_ms=20))) == []


def test_every_target_that_breaks_is_said() -> None:
    slow = a_load(a_call(latency_ms=30))
    assert missed_targets(slow) == ["packet to Gemini: 30.0 ms at p99, not 25"]
    worse = a_call(latency_ms=50, lost=15)
    worse.playout.gaps = [Gap(15.0, 30)]
    worse.down.strange.append(16.0)
    assert missed_targets(a_load(worse, problems=("call 0: it went away",))) == [
        "1 problems, the first: call 0: it went away",
        "packet to Gemini: 50.0 ms at p99, not 25",
        "chunk to Twilio: 50.0 ms at p99, not 40",
        "1 gaps",
        "up: 1 markers lost, 0 strange, 0 ms missing",
        "down: 1 markers lost, 1 strange, 0 ms missing",
    ]
    nothing = LoadedCall(0, "+15550000000")
    assert "packet to Gemini: nothing came" in missed_targets(a_load(nothing))
