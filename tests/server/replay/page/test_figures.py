"""Figures as people read them."""

import pytest

from server.replay.page.figures import (
    count,
    length,
    milliseconds,
    moment,
    p50,
    p95,
    repeated,
    scale_ms,
    speed,
    title,
)
from tests.server.replay import samples


@pytest.mark.parametrize(
    ("secs", "shown"),
    [(0.42, "0.42 s"), (24.06, "24.1 s"), (59.97, "1 min 00 s"), (302, "5 min 02 s")],
)
def test_lengths(secs: float, shown: str) -> None:
    assert length(secs).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("secs", "shown"),
    [(3.24, "0:03.2"), (-1.0, "−0:01.0"), (-0.01, "0:00.0"), (59.96, "1:00.0"), (185, "3:05.0")],
)
def test_moments(secs: float, shown: str) -> None:
    assert moment(secs) == shown


@pytest.mark.parametrize(
    ("call", "took", "shown"),
    [(26, 1, "26×"), (10, 10, "1.0×"), (9.44, 1, "9.4×"), (9.6, 1, "10×"), (0, 1, ""), (9, 0, "")],
)
def test_speeds(call: float, took: float, shown: str) -> None:
    assert speed(call, took) == shown


def test_medians_and_percentiles() -> None:
    assert p50([]) is None
    assert p50([3, 1, 2]) == 2
    assert p95([]) is None
    assert p95([7]) == 7
    assert p95(list(range(101))) == 95


def test_scales_end_in_round_figures_and_hold_the_longest() -> None:
    assert [scale_ms(ms) for ms in (0, 1_000, 1_001, 90_000)] == [1_000, 1_000, 2_000, 90_000]


def test_names_and_numbers() -> None:
    assert milliseconds(879.6).startswith("880")
    assert count(1, "call").endswith("call")
    assert count(2, "call").endswith("calls")
    assert [title("a", 1), title("a", 2)] == ["a", "a[2]"]
    call = samples.broken()
    assert repeated([call]) == frozenset()
    assert repeated([call, samples.repetition(call, 2)]) == {"appointments/invalid_model"}
