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
# Of the many calls of one kind, those that differ most are played each time: the least and the most
# noise, a word of one sound, a question, names with hard beginnings, two other languages.
MANY = "first_seconds/"
USUAL = {
    *("nobody_speaks_at_30_db", "nobody_speaks_at_10_db", "first_word_at_10_db"),
    *("says_yes", "says_who_is_this", "says_zoe", "says_schulz", "says_slucham"),
}


def marks(name: str) -> list[pytest.MarkDecorator]:
    is_usual = not name.startswith(MANY) or name.removeprefix(MANY) in USUAL
    return [pytest.mark.scenario] if is_usual else [pytest.mark.scenario, pytest.mark.long]


def test_the_usual_ones_are_there() -> None:
    assert {MANY + name for name in USUAL} <= {scenario.name for scenario in SCENARIOS}


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, id=each.name, marks=marks(each.name)) for each in SCENARIOS],
)
def test_the_call_holds(scenario: Scenario, pytestconfig: pytest.Config) -> None:
    speed = pytestconfig.getoption("--scenario-speed")
    replay = play_one(scenario, RunOptions(speed=speed))
    if replay.verdict is not Verdict.PASSED:
        pytest.fail(told(replay), pytrace=False)
