"""Whatever a file holds, it is scenarios or a ScenarioError, and nothing else."""

import string
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.replay.reading import SCENARIO_KEYS, ScenarioError, find_files, read_scenarios
from server.replay.reading_call import CALL_KEYS
from server.replay.reading_expectations import NOT_SHOWN, SHOWN
from server.replay.reading_model import MODEL_KEYS
from server.replay.reading_outcome import OUTCOME_KEYS
from server.replay.scenario import Scenario

KEYS = [
    *("scenarios", *SCENARIO_KEYS, *CALL_KEYS, *MODEL_KEYS, *OUTCOME_KEYS),
    *("user", "audio", "dtmf", "hang_up", "send_after", "expect", "image", "delay_ms", "pause_ms"),
    *("event", "within_ms", "text_contains", "calls", "name", "args", "eval", "absent", "marker"),
    *("hears", "say", "do", "call", "tool_result", "at_ms", "drop", "stall", "connects", "lose"),
    *("role", "content", "modality", "speech", "who", "caller", "callbacks", "vad_config"),
]
WORDS = [
    "+15550100123",
    "hello",
    "12#",
    "agent",
    "completed",
    "system",
    "audio",
    *SHOWN,
    *NOT_SHOWN,
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=3),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=2),
    ),
    max_leaves=25,
)


def items_of(*keys: str) -> st.SearchStrategy[Any]:
    return st.lists(st.dictionaries(st.sampled_from(keys), trees, max_size=4), max_size=3)


# Trees with the right keys in the right places, so that reading gets far into them.
likely = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "call": st.dictionaries(st.sampled_from(CALL_KEYS), trees, max_size=4),
        "gemini": st.dictionaries(st.sampled_from(MODEL_KEYS), trees, max_size=3),
        "outcome": st.dictionaries(st.sampled_from(OUTCOME_KEYS), trees, max_size=4),
        "turns": st.one_of(
            trees, items_of("user", "audio", "dtmf", "hang_up", "send_after", "expect", "image")
        ),
        "context": items_of("role", "content", "name"),
        "user": trees,
        "judge": trees,
        "persona": scalars,
        "scenarios": items_of("name", "turns", "call", "persona"),
    },
)


def read(path: Path) -> list[Scenario]:
    try:
        scenarios = read_scenarios(path)
    except ScenarioError as error:
        told = error
    else:
        assert scenarios
        return scenarios
    assert len(told.problems) == len(str(told).splitlines())
    assert str(told).startswith(str(path))
    return []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.one_of(trees, likely))
def test_any_tree(tree: Any, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.dump(tree, allow_unicode=True), encoding="utf-8", errors="replace")
    for scenario in read(path):
        assert scenario.where.path == path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=40),
        st.text(alphabet="[]{}:,-?&*!|>'\"%@#\n ab0<~\\x" + string.digits, max_size=60).map(
            str.encode
        ),
    )
)
def test_any_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    assert find_files([path]) == [path]
    find_files([tmp_path])
    read(path)
