"""Percentiles: properties that hold for whatever was measured."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from server.bench.statistics import Summary, summarise

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def of(values: list[float]) -> Summary:
    summary = summarise(values)
    assert summary is not None
    return summary


@given(VALUES)
def test_percentiles_are_values_in_order(values: list[float]) -> None:
    summary = of(values)
    in_order = [summary.smallest, summary.p50, summary.p95, summary.p99, summary.largest]
    assert in_order == sorted(in_order)
    assert set(in_order) <= set(values)
    assert (summary.count, summary.smallest, summary.largest) == (
        len(values),
        min(values),
        max(values),
    )


@given(VALUES)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float]) -> None:
    summary = of(values)
    for percent, value in ((50, summary.p50), (95, summary.p95), (99, summary.p99)):
        assert sum(one <= value for one in values) * 100 >= percent * len(values)
        assert sum(one < value for one in values) * 100 < percent * len(values)


@given(VALUES, st.randoms())
def test_the_order_of_the_values_does_not_matter(values: list[float], random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert summarise(shuffled) == summarise(values)


@given(VALUES, st.integers(1, 5))
def test_measuring_the_same_again_changes_no_percentile(values: list[float], times: int) -> None:
    once, often = of(values), of(values * times)
    assert (once.p50, once.p95, once.p99) == (often.p50, often.p95, often.p99)


def test_some_percentiles_that_anybody_can_check() -> None:
    twenty = of([float(number) for number in range(1, 21)])
    assert (twenty.p50, twenty.p95, twenty.p99) == (10, 19, 20)
    hundred = of([float(number) for number in range(100, 0, -1)])
    assert (hundred.p50, hundred.p95, hundred.p99) == (50, 95, 99)


def test_nothing_measured_is_no_figure() -> None:
    assert summarise([]) is None
