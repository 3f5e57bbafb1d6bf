"""Notes on a replay: tools that failed, and what only follows from a turn that failed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.call import catalogue
from server.replay.notes import still_asked, unplayed
from server.replay.player import PlayOptions
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.scenario import Fact, HeardSentence, Outcome
from tests.server.replay.stands import at
from tests.server.replay.written import only

PIZZA = """\
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL


async def order_pizza() -> str:
    \"\"\"Order a pizza.\"\"\"
    raise KeyError("oven")


PIZZA = PipelineDefinition(name="pizza", steps=PHONE_CALL.steps, tools=[order_pizza])
"""
CALL = """\
call: {{pipeline: pizza, greeting: "Hello.", then: hangs_up}}
gemini:
  rules:
    - {{hears: "A pizza please", call: {{name: order_pizza}}}}
    - {{tool_result: order_pizza, say: "That did not work."}}
turns:
  - expect: [{{event: response}}]
  - user: "A pizza please"
    expect: [{{event: response, text_contains: "{says}", within_ms: 8000}}]
  - user: "Thank you"
    expect: [{{event: response}}]
  - user: "Goodbye"
outcome:
  end_reason: agent
  record: [{{who: agent}}, {{who: caller}}, {{who: agent}}]
  events: [pizza.ordered]
  gaps: 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With the pipeline's module, which a process imports once."""
    folder = tmp_path_factory.mktemp("pizza")
    (folder / "pizza.py").write_text(PIZZA)
    yield folder
    catalogue.use(())


def played(folder: Path, scenario: str) -> Replay:
    options = PlayOptions(pipelines=(str(folder / "pizza.py"),))
    return play_one(only(folder, scenario), RunOptions(play=options))


def test_a_turn_that_fails_is_the_only_failure_and_the_tool_behind_it_is_told(
    folder: Path,
) -> None:
    replay = played(folder, CALL.format(says="is ordered"))

    (failure,) = replay.failures
    assert "with “is ordered”" in failure.expected
    assert replay.notes == [
        "tool order_pizza failed: KeyError: 'oven' (pizza.py:7)",
        "turns 3 to 4 were not played, because turn 2 failed",
        "end_reason, record, events were not checked, because turn 2 failed",
    ]


def test_a_scenario_that_passes_tells_of_the_tool_that_failed(folder: Path) -> None:
    scenario = CALL.format(says="did not work").partition('  - user: "Thank you"')[0]
    replay = played(folder, scenario)

    assert (replay.verdict, replay.failures) == (Verdict.PASSED, [])
    assert replay.notes == ["tool order_pizza failed: KeyError: 'oven' (pizza.py:7)"]


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        (2, []),
        (3, ["turn 3 was not played, because turn 2 failed"]),
        (5, ["turns 3 to 5 were not played, because turn 2 failed"]),
    ],
)
def test_turns_behind_a_failed_one_are_told(turns: int, says: list[str]) -> None:
    assert unplayed(2, turns) == says


def test_how_the_call_ended_is_asked_unless_the_caller_gave_up() -> None:
    asked = Outcome(
        status=Fact(at(3), "completed"),
        end_reason=Fact(at(4), "agent"),
        heard=(HeardSentence(at(5), "Goodbye."),),
    )

    outcome, left_out = still_asked(asked, 2, hung_up=False)
    assert (outcome.status, outcome.end_reason) == (asked.status, asked.end_reason)
    assert (outcome.heard, left_out) == ((), ["heard was not checked, because turn 2 failed"])
    outcome, left_out = still_asked(asked, 2, hung_up=True)
    assert outcome == Outcome()
    assert left_out == ["status, end_reason, heard were not checked, because turn 2 failed"]
