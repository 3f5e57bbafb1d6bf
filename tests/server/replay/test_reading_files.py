"""Which files are scenarios, which scenarios a file holds, and what they are called."""

from pathlib import Path

import pytest

from server.replay.reading import ScenarioError, find_files, read_scenarios
from tests.server.replay.written import only, write

TURN = "turns: [{user: Hello.}]\n"


def test_a_file_without_a_list_is_one_scenario_called_as_the_file(tmp_path: Path) -> None:
    assert only(tmp_path, TURN).name == "call"
    assert only(tmp_path, f"name: greeting\n{TURN}").name == "greeting"


def test_a_scenario_replaces_a_default_whole(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        name: both
        call: {ring_ms: 5000, greeting: Hi}
        turns:
          - user: Hello.
        scenarios:
          - name: as_above
          - name: other
            call: {greeting: Good day}
            turns:
              - user: Good day.
              - hang_up: true
        """,
    )
    above, other = read_scenarios(path)
    assert (above.name, other.name) == ("both/as_above", "both/other")
    assert (above.where.line, other.where.line) == (6, 7)
    assert (above.call.ring_ms, other.call.ring_ms) == (5000, 1000)
    assert other.call.request == {"greeting": "Good day"}
    assert [turn.text for turn in above.turns] == ["Hello."]
    assert [turn.hang_up for turn in other.turns] == [False, True]
    assert above.turns[0].where.line == 4


def test_a_mistake_in_a_default_is_told_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        call: {ring_ms: -1}
        turns: [{user: Hello.}]
        scenarios: [{name: one}, {name: two}]
        """,
    )
    with pytest.raises(ScenarioError) as error:
        read_scenarios(path)
    (problem,) = error.value.problems
    assert (problem.key, problem.where.line) == ("call.ring_ms", 1)


def test_all_mistakes_are_told_at_once_by_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        scenarios:
          - name: one
            outcom: {}
            turns:
              - user: 12
              - expect: [{event: respons}]
          - turns: [{user: Hello.}]
          - name: one
            persona: Robin
        """,
    )
    with pytest.raises(ScenarioError) as error:
        read_scenarios(path)
    assert [(p.where.line, p.key) for p in error.value.problems] == [
        (3, "scenarios[0].outcom"),
        (5, "turns[0].user"),
        (6, "turns[1].expect[0].event"),
        (7, "scenarios[1].name"),
        (8, "scenarios[2].name"),
    ]
    assert error.value.where == error.value.problems[0].where
    assert str(error.value).splitlines()[0] == (
        f"{path}:3: scenarios[0].outcom: there is no key `outcom`; did you mean `outcome`?"
    )


def test_a_mistake_in_an_included_file_names_its_line(tmp_path: Path) -> None:
    part = write(tmp_path, "\nring_ms: soon\nanswer: !include word.yaml\n", "parts/call.yaml")
    word = write(tmp_path, "# an answer\n\nperhaps\n", "parts/word.yaml")
    path = write(tmp_path, f"call: !include parts/call.yaml\n{TURN}")
    with pytest.raises(ScenarioError) as error:
        read_scenarios(path)
    places = [str(problem.where) for problem in error.value.problems]
    assert places == [f"{part}:2", f"{word}:3"]


def test_a_file_that_is_not_there_is_told_as_any_mistake(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file"):
        read_scenarios(tmp_path / "gone.yaml")
    with pytest.raises(ScenarioError, match="expected a file or a folder, got neither"):
        find_files([tmp_path / "gone"])


def test_scenario_files_are_found_and_nothing_else(tmp_path: Path) -> None:
    scenarios = [
        write(tmp_path, text, name)
        for name, text in {
            "b.yaml": TURN,
            "a.yml": "outcome: {status: busy}\n",
            "deep/down/c.yaml": "scenarios: []\n",
            "broken.yaml": "turns: [",
            "misspelt.yaml": "name: x\nturn: []\n",
            "simulated.yaml": "persona: Robin\n",
            "includes_nothing.yaml": "turns: !include gone.yaml\n",
        }.items()
    ]
    for name, text in {
        "judge.yaml": "modality: audio\n",
        "manifest.yaml": "suite: [{bot: a, scenarios: [b]}]\n",
        "workflow.yml": "name: CI\non: push\njobs: {}\npermissions: {}\ndefaults: {}\n",
        "messages.yaml": "- {role: system}\n",
        "empty.yaml": "",
        "turns.txt": TURN,
        ".hidden/d.yaml": TURN,
    }.items():
        write(tmp_path, text, name)
    assert find_files([tmp_path]) == sorted(scenarios)
    # A file that is named is read, whatever it is; none is read twice.
    named = tmp_path / "judge.yaml"
    assert find_files([named, tmp_path / "b.yaml", tmp_path, named]) == sorted([*scenarios, named])
