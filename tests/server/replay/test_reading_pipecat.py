"""Files written for Pipecat's evals load in their own words; nothing of them is lost silently."""

import warnings
from pathlib import Path

import pytest
from pipecat.evals.scenario import EvalScenarioFile, EvalScriptScenario

from server.replay.reading import find_files, read_scenarios
from server.replay.scenario import Scenario

FOLDER = Path(__file__).parent / "pipecat"
FILES = find_files([FOLDER])


def as_pipecat_reads_it(path: Path) -> dict[str, EvalScriptScenario]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = EvalScenarioFile.load(path)
    return {s.name: s for s in loaded.scenarios if isinstance(s, EvalScriptScenario)}


def scripted(path: Path) -> list[tuple[Scenario, EvalScriptScenario]]:
    theirs = as_pipecat_reads_it(path)
    return [(s, theirs[s.name]) for s in read_scenarios(path) if s.name in theirs]


def test_only_scenarios_are_found_among_the_fragments() -> None:
    assert [path.stem for path in FILES] == [
        *("garden_advice", "library_change_of_mind", "parcel_keypad"),
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_callers_part_is_as_pipecat_reads_it(path: Path) -> None:
    pairs = scripted(path)
    assert pairs
    for ours, theirs in pairs:
        assert [(turn.text or None, turn.dtmf) for turn in ours.turns] == [
            (turn.user, turn.dtmf) for turn in theirs.turns
        ]
        assert [turn.parts for turn in ours.turns if len(turn.parts) > 1] == [
            tuple(turn.parts) for turn in theirs.turns if turn.parts
        ]
        assert ours.stop_on_failure == theirs.stop_on_failure


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_expectation_is_checked_as_pipecat_reads_it_or_reported(path: Path) -> None:
    for ours, theirs in scripted(path):
        noted = {note.where for note in ours.not_checked}
        reported = sum(
            note.what.startswith(("llm_marker", "user_transcription of keys"))
            for note in ours.not_checked
        )
        wanted = [e for turn in theirs.turns for e in turn.expect]
        checked = [e for turn in ours.turns for e in turn.expect]
        assert len(checked) + reported == len(wanted)
        # Pipecat has one word for both `response` and `llm_response` where nobody speaks.
        rest = [
            e for e in wanted if e.event != "llm_marker" and "DTMF" not in (e.text_contains or "")
        ]
        for mine, other in zip(checked, rest, strict=True):
            assert {mine.event, other.event} <= {"response", "llm_response"} or (
                mine.event == other.event
            )
            assert mine.within_ms == (other.within_ms or 60_000)
            assert mine.text_contains == other.text_contains
            assert mine.text_excludes == other.text_excludes
            assert mine.absent == other.absent
            assert mine.from_turn_start == (other.check_from == "turn_start")
            assert [(call.name, call.args) for call in mine.calls] == [
                (call.name, call.args) for call in other.calls or []
            ]
        judged = sum(e.eval is not None for e in rest)
        assert sum(note.what.startswith("eval ") for note in ours.not_checked) == judged
        assert all(where.path.exists() for where in noted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_inputs_go_out_when_pipecat_sends_them(path: Path) -> None:
    for ours, theirs in scripted(path):
        for mine, other in zip(ours.turns, theirs.turns, strict=True):
            if other.send_after is None or other.send_after.event == "user_backchannel":
                assert mine.send_after is None
            else:
                assert mine.send_after is not None
                assert mine.send_after.event == other.send_after.event
                assert mine.send_after.delay_ms == other.send_after.delay_ms


def test_all_that_a_phone_cannot_show_is_reported_with_its_line() -> None:
    notes = {
        scenario.name: [(n.where.path.stem, n.where.line, n.what) for n in scenario.not_checked]
        for path in FILES
        for scenario in read_scenarios(path)
    }
    judge = [
        ("spoken_judge", 2, "judge.eval: no model judges the replies"),
        ("spoken_judge", 7, "judge.transcription: the replay has ears of its own"),
    ]
    assert notes["garden_advice/played_by_a_model"] == [
        ("garden_advice", 7, "trigger_disconnect: who hangs up says the call itself"),
        ("garden_advice", 65, "persona: a caller played by a model is never the same twice"),
        *judge,
    ]
    thinks = [(line, what.split(":")[0]) for _, line, what in notes["garden_advice/thinks_aloud"]]
    assert thinks == [
        (7, "trigger_disconnect"),
        (21, "llm_marker"),
        (28, "eval “the bot talks about pear trees”"),
        (31, "send_after user_backchannel"),
        (34, "llm_marker"),
        (2, "judge.eval"),
        (7, "judge.transcription"),
        (2, "user.speech"),
    ]
    assert ("garden_advice", 50, "image: a telephone sends no images") in notes[
        "garden_advice/shows_a_leaf"
    ]
    assert [line for _, line, _ in notes["parcel_keypad"]] == [6, 13, 17, 20]


def test_a_context_of_its_own_replaces_that_of_the_file() -> None:
    prompts = {
        s.name: s.call.request["system_prompt"]
        for s in read_scenarios(FOLDER / "garden_advice.yaml")
    }
    assert prompts["garden_advice/thinks_aloud"] == "You advise on gardens."
    assert prompts["garden_advice/shows_a_leaf"].startswith("You know every plant.\n")
    assert "gardens" not in prompts["garden_advice/shows_a_leaf"]
