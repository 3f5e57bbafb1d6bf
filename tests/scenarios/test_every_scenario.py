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


@pytest.mark.scenario
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_call_holds(scenario: Scenario, pytestconfig: pytest.Config) -> None:
    speed = pytestconfig.getoption("--scenario-speed")
    replay = play_one(scenario, RunOptions(speed=speed))
    if replay.verdict is not Verdict.PASSED:
        pytest.fail(told(replay), pytrace=False)
