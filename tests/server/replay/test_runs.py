"""Runs compared, expectations that flicker, scenarios varied, and what a change touches."""

from dataclasses import replace
from pathlib import Path

import pytest

from server.replay.comparison import changes, write_comparison
from server.replay.flickering import flickering
from server.replay.results import Failure, Replay, Sound, Verdict
from server.replay.run_folder import RunError, read_run, save_run
from server.replay.scenario import CallPlan, Where
from server.replay.variation import LINES, breaking, varied
from server.replay.watching import touched
from tests.server.replay.samples import FILE, scenario


def played(
    name: str = "hours", *, ms: float = 500, text: str = "At nine.", level: int = 0
) -> Replay:
    replay = Replay(scenario(name), Verdict.PASSED, response_ms=[ms], call_secs=2.0)
    replay.transcript = [
        {"who": "agent", "text": text, "start_ms": 100, "end_ms": 900, "interrupted": False}
    ]
    silence = bytes(16_000)
    replay.sound = Sound(silence, silence[:8_000] + bytes([0, level]) * 4_000)
    return replay


def test_equal_runs_have_no_changes(tmp_path: Path) -> None:
    save_run([played()], tmp_path / "a")
    save_run([played()], tmp_path / "b")

    assert changes(read_run(tmp_path / "a"), read_run(tmp_path / "b")) == []


def test_slower_turns_other_words_and_other_sound_are_told(tmp_path: Path) -> None:
    save_run([played(), played("gone")], tmp_path / "a")
    save_run([played(ms=900, text="At ten.", level=20)], tmp_path / "b")
    runs = read_run(tmp_path / "a"), read_run(tmp_path / "b")

    found = changes(*runs)
    write_comparison(*runs, found, tmp_path / "page.html")

    says = " | ".join(change.says for change in found)
    assert "response 1 is 400 ms slower" in says
    assert "“At nine.” before, agent “At ten.” now" in says
    assert "sound differs from 0.500 s on" in says
    assert "is only in the first run" in says
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "400 ms slower" in page


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 2, "replays": []}'])
def test_what_is_no_run_is_told_in_a_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)

    with pytest.raises(RunError, match=r"run\.json: expected"):
        read_run(tmp_path)


def test_an_expectation_that_flickers_is_told_with_its_bounds() -> None:
    where = Where(FILE, 24)
    replays = [played(), played(ms=870), played(ms=940)]
    for each, ms in ((replays[1], 870), (replays[2], 940)):
        each.failures = [Failure(where, "at most 800 ms", f"{ms} ms")]
        each.verdict = Verdict.FAILED

    sentences = flickering(replays)

    assert sentences[0] == f"{where}: failed 2 of 3 times, expected at most 800 ms, saw 870–940 ms"
    assert sentences[1] == "the middle response took 500–940 ms"


def test_a_scenario_is_varied_and_told_where_it_breaks() -> None:
    scenarios = [scenario("hours"), scenario("busy", call=CallPlan(answer="busy"))]

    every = varied(scenarios)
    replays = [
        Replay(each, Verdict.FAILED if "jitter" in each.name else Verdict.PASSED) for each in every
    ]

    assert len(every) == 1 + 1 + len(LINES) + 1
    lines = breaking(replays)
    assert len(lines) == len(LINES) + 1
    assert f"on jitter: 1 of 1 breaks: {scenarios[0].name}" in lines
    assert lines.count("on loss: all hold") == 1
    replays[0] = replace(replays[0], verdict=Verdict.FAILED)
    assert breaking(replays) == [f"on a good line already: 1 of 1 breaks: {scenarios[0].name}"]


def test_each_condition_names_the_scenarios_that_break_on_it() -> None:
    every = varied([scenario("hours"), scenario("cancel"), scenario("menu")])
    broken = ("hours on jitter", "menu on jitter", "menu on loss")
    replays = [
        Replay(each, Verdict.FAILED if each.name.endswith(broken) else Verdict.PASSED)
        for each in every
    ]

    lines = breaking(replays)

    assert "on jitter: 2 of 3 break: appointments/hours, appointments/menu" in lines
    assert "on loss: 1 of 3 break: appointments/menu" in lines
    assert lines.count("on a stall: all hold") == 1


def test_a_change_of_a_scenario_replays_it_and_one_of_code_all(tmp_path: Path) -> None:
    one, track = tmp_path / "one.yaml", tmp_path / "caller.wav"
    one.touch()

    assert touched([one], [tmp_path]) == [one]
    assert touched([track], [tmp_path]) == [one]
    assert touched([one, Path("pipelines/phone_call.py")], [tmp_path]) == [tmp_path]
    assert touched([tmp_path / "deleted.yaml"], [tmp_path]) == []
