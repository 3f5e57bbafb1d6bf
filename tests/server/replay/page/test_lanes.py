"""Labels that do not cover each other, and what is drawn when an end is not known."""

import re

from server.replay.page import lanes
from server.replay.page.scale import Scale
from server.replay.results import Happened


def call(at: float, name: str) -> Happened:
    return Happened(at, "tool", "function_call", detail={"name": name, "args": {}})


def test_labels_of_function_calls_stand_on_rows_of_their_own_until_there_is_no_room() -> None:
    calls = [call(5 + number / 10, f"look_up_{number}") for number in range(4)]
    drawn, rows = lanes.tools(calls, Scale(0, 20))
    assert rows == 3
    assert [re.findall(r"row\d", it) for it in drawn] == [["row0"], ["row1"], ["row2"], ["row2"]]
    assert ["<span>" in it for it in drawn] == [True, True, True, False]


def test_labels_at_the_end_stand_before_what_they_name() -> None:
    (early, late), rows = lanes.tools([call(1, "hang_up"), call(19.9, "hang_up")], Scale(0, 20))
    assert rows == 1
    assert "flipped" not in early
    assert "flipped" in late


def test_a_cancelled_function_call_is_shown_as_cut() -> None:
    end = Happened(2, "tool", "function_call_stopped", detail={"args": {"cancelled": True}})
    (drawn,), _ = lanes.tools([call(1, "look_up"), end], Scale(0, 20))
    assert "cut" in drawn
    assert "1.0" in drawn


def test_generating_lasts_until_its_end_and_is_a_mark_without_one() -> None:
    events = [
        Happened(1, "model", "llm_started", "One"),
        Happened(2, "model", "llm_started", "Two"),
        Happened(3, "model", "llm_response", "Two"),
        Happened(4, "model", "llm_started", "Three"),
    ]
    drawn = lanes.model(events, Scale(0, 10), over=9)
    assert ["generating" in it for it in drawn] == [False, True, False]
    assert "left:20.000%;width:10.000%" in drawn[1]


def test_a_session_that_closes_at_the_end_was_not_lost() -> None:
    events = [
        Happened(0, "model", "setup", detail={"session": 1}),
        Happened(9, "model", "closed", detail={"session": 1}),
    ]
    drawn = lanes.model(events, Scale(0, 10), over=9)
    assert not any("wrong" in it for it in drawn)


def test_things_of_the_phone_are_drawn_even_when_alone() -> None:
    (pin,) = lanes.phone([Happened(1, "phone", "stream.lost")], Scale(0, 10))
    assert "wrong" in pin
    assert "stream lost" in pin
    ring, *_ = lanes.phone(
        [Happened(-2, "phone", "ringing"), Happened(0, "phone", "in-progress")], Scale(-2, 2)
    )
    assert ring == '<i class="ring" style="left:0.000%;width:50.000%"></i>'
