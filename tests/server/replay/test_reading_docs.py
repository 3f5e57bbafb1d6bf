"""docs/scenarios.md is true: its examples load, and it knows every key and event that there is."""

import re
from pathlib import Path

import pytest

from server.replay.reading import SCENARIO_KEYS, ScenarioError, read_scenarios
from server.replay.reading_call import CALL_KEYS, CALLBACKS
from server.replay.reading_expectations import NOT_SHOWN, SHOWN
from server.replay.reading_model import MODEL_KEYS
from server.replay.reading_outcome import OUTCOME_KEYS

TEXT = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_an_example_loads_and_all_of_it_is_checked(example: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    for scenario in read_scenarios(path):
        assert scenario.not_checked == ()


@pytest.mark.parametrize(
    "word",
    [
        *(*SCENARIO_KEYS, *CALL_KEYS, *CALLBACKS, *MODEL_KEYS, *OUTCOME_KEYS),
        *(*SHOWN, *NOT_SHOWN),
    ],
)
def test_every_key_and_event_is_explained(word: str) -> None:
    assert re.search(rf"`[^`\n]*\b{re.escape(word)}\b[^`\n]*`", TEXT)


def test_mistakes_are_told_as_the_page_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "hours.yaml"
    path.write_text(
        "turns:\n  - {}\n  - expect:\n      - event: response\n        withn_ms: 5\n"
        "call:\n  number: 0049 30\n"
    )
    with pytest.raises(ScenarioError) as error:
        read_scenarios(path)
    shown = re.findall(r"^scenarios/hours.yaml:\d+: (.*)$", TEXT, re.MULTILINE)
    assert [str(p).split(": ", 1)[1] for p in error.value.problems] == shown
