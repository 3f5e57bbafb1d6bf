"""What is left of a scenario where nobody can watch the model."""

from dataclasses import replace

import pytest

from server.replay.scenario import (
    CallPlan,
    Expectation,
    Fault,
    ModelPlan,
    Scenario,
    SendAfter,
    ToolCall,
    Turn,
)
from server.replay.unwatched import unwatched
from tests.server.replay.stands import at

HEARD = Expectation(at(10), "response", text_contains="hello")
CALLED = Expectation(at(11), "function_call", calls=(ToolCall("look", {"car": 1}),))


def left_out(scenario: Scenario, *, by_other_server: bool = False) -> list[tuple[int, str]]:
    less = unwatched(scenario, by_other_server=by_other_server)
    return [(it.where.line, it.what) for it in less.not_checked]


def test_what_a_phone_and_the_record_show_stays_as_it_is() -> None:
    fault = Fault(at(4), "lose_stream", 1_000)
    after = SendAfter(at(5), "bot_started_speaking")
    turn = Turn(at(3), ("Hello?",), send_after=after, expect=(HEARD, CALLED))
    scenario = Scenario("t/t", at(1), model=ModelPlan(faults=(fault,)), turns=(turn,))
    assert unwatched(scenario, by_other_server=True) == scenario


@pytest.mark.parametrize(
    "event",
    [
        *("vad_user_started_speaking", "vad_user_stopped_speaking", "user_transcription"),
        *("llm_started", "llm_response"),
    ],
)
def test_events_of_the_model_are_left_out_with_their_lines(event: str) -> None:
    turn = Turn(
        at(3),
        ("Hello?",),
        send_after=SendAfter(at(5), event),
        expect=(Expectation(at(9), event), HEARD),
    )
    less = unwatched(Scenario("t/t", at(1), turns=(turn,)), by_other_server=False)
    assert less.turns == (replace(turn, send_after=None, expect=(HEARD,)),)
    assert [(it.where, it.what.split(":")[0].split()[0]) for it in less.not_checked] == [
        (at(5), event),
        (at(9), event),
    ]


def test_that_a_call_was_answered_is_seen_but_not_that_it_was_cancelled() -> None:
    stopped = ToolCall("look", {"cancelled": False})
    asked = Expectation(at(9), "function_call_stopped", calls=(stopped, ToolCall("find")))
    scenario = Scenario("t/t", at(1), turns=(Turn(at(3), expect=(asked,)),))
    less = unwatched(scenario, by_other_server=False)
    assert less.turns[0].expect[0].calls == (ToolCall("look"), ToolCall("find"))
    assert [it.where for it in less.not_checked] == [at(9)]


def test_what_only_the_emulated_model_can_be_made_to_do_is_left_out() -> None:
    model = ModelPlan(connect_faults=({"http_status": 503},), faults=(Fault(at(4), "drop", 1_000),))
    scenario = Scenario("t/t", at(1), model=model)
    assert left_out(scenario) == [
        (1, "only the emulated model can refuse a session"),
        (4, "a drop can be caused of the emulated model alone"),
    ]
    less = unwatched(scenario, by_other_server=False)
    assert (less.model.connect_faults, less.model.faults) == ((), ())


def test_how_another_server_answers_is_its_own_affair() -> None:
    call = CallPlan(direction="inbound", request={"greeting": "Hello.", "pipeline": "reminder"})
    scenario = Scenario("t/t", at(1), call)
    says = "the server answers as its own INBOUND_NUMBERS say, not by greeting, pipeline"
    assert left_out(scenario, by_other_server=True) == [(1, says)]
    assert left_out(scenario) == []
    outbound = replace(scenario, call=replace(call, direction="outbound"))
    assert left_out(outbound, by_other_server=True) == []
