"""Every call in `scenarios/` holds; `--scenario-speed real` plays them as long as they last."""

from pathlib import Path

import pytest

from server.replay.reading import find_files, read_scenarios
from server.replay.results import Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.scenario import Scenario
from voice_ai_pytest import told

FOLDER = Path(__file__).parents[2] / "scenarios"
SCENARIOS = [scenario for file in find_files([FOLDER]) for scenario in read_scenarios(file)]
# Of the many calls of one kind, those that differ most are played each time: the most noise, a word
# of one sound, a hard beginning in another language.
MANY = "first_seconds/"
USUAL = {"nobody_speaks_at_10_db", "first_word_at_10_db", "says_yes", "says_slucham"}
# `make test` has the same in calls of `tests/e2e`, or in another scenario.
ELSEWHERE = {
    "conversation/barge_in": "conversation/barge_in_twice",
    "tools/tool_that_exits": "test_tools.py",
    "tools/tool_that_fails": "tools/tool_that_never_answers",
    "tools/transfer_of_an_anonymous_caller": "tools/transfer_of_a_caller_from_an_app",
    "vendor/speech_at_16_khz": "test_model_messages.py",
    "vendor/speech_that_cannot_be_played": "test_model_messages.py",
    "vendor/unknown_messages": "test_model_messages.py",
}


def marks(name: str) -> list[pytest.MarkDecorator]:
    is_one_of_many = name.startswith(MANY) and name.removeprefix(MANY) not in USUAL
    is_usual = not is_one_of_many and name not in ELSEWHERE
    return [pytest.mark.scenario] if is_usual else [pytest.mark.scenario, pytest.mark.long]


def test_the_usual_ones_are_there() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    assert {MANY + name for name in USUAL} <= names
    assert ELSEWHERE.keys() <= names
    calls = FOLDER.parent / "tests" / "e2e"
    played = [each for each in ELSEWHERE.values() if not (calls / each).is_file()]
    assert set(played) <= names - ELSEWHERE.keys()


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, id=each.name, marks=marks(each.name)) for each in SCENARIOS],
)
def test_the_call_holds(scenario: Scenario, pytestconfig: pytest.Config) -> None:
    speed = pytestconfig.getoption("--scenario-speed")
    replay = play_one(scenario, RunOptions(speed=speed))
    if replay.verdict is not Verdict.PASSED:
        pytest.fail(told(replay), pytrace=False)
