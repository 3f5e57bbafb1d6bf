"""Where moments stand on a timeline."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.replay.page.scale import Scale
from tests.server.replay import samples


def test_all_that_is_known_of_a_call_fits() -> None:
    call = samples.barge_in()
    scale = Scale.of(call)
    assert scale.start == -1.0
    assert scale.end > call.call_secs
    assert Scale.of(replace(call, call_secs=60.0)).end > 60
    assert Scale.of(samples.broken()) == Scale(0.0, 1.02)


def test_moments_stand_in_percent_and_never_outside() -> None:
    scale = Scale(-1, 3)
    assert scale.at(0) == "25.000%"
    assert scale.at(-5) == "0.000%"
    assert scale.at(9) == "100.000%"
    assert scale.place(1, 2) == "left:50.000%;width:25.000%"
    assert scale.place(2, 9) == "left:75.000%;width:25.000%"
    assert scale.place(2, 1) == "left:75.000%;width:0.000%"


def test_the_axis_is_labelled_in_round_steps_and_finer_when_zoomed() -> None:
    ticks = list(Scale(-1.0, 23.0).ticks())
    assert [secs for secs, level in ticks if level == 0] == list(range(0, 23, 2))
    assert [secs for secs, level in ticks if level == 1] == list(range(-1, 24, 2))
    assert len([level for _, level in ticks if level == 2]) == 96


@given(st.floats(-60, 0), st.floats(1, 3_600))
def test_any_call_has_an_axis_that_can_be_read(start: float, length: float) -> None:
    scale = Scale(start, start + length)
    ticks = list(scale.ticks())
    assert 2 <= len([secs for secs, level in ticks if level == 0]) <= 15
    assert all(start - 0.001 <= secs <= start + length + 0.001 for secs, _ in ticks)
    assert len(ticks) < 800


@pytest.mark.parametrize("secs", [0.05, 60, 300, 1_800])
def test_a_label_is_never_repeated(secs: float) -> None:
    moments = [moment for moment, _ in Scale(-1.0, secs).ticks()]
    assert len(set(moments)) == len(moments)
