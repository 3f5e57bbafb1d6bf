"""JUnit XML, as CI servers read it."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from server.replay.report_junit import write_junit
from server.replay.results import Failure, Replay, Verdict
from server.replay.scenario import Where
from tests.server.replay import samples


def written(tmp_path: Path, *replays: Replay) -> Element:
    path = tmp_path / "reports" / "junit.xml"
    write_junit(replays, path)
    return ElementTree.parse(path).getroot()


def cases(root: Element) -> dict[str, Element]:
    return {case.attrib["name"]: case for case in root.iter("testcase")}


def test_each_scenario_is_a_case_of_its_files_suite(tmp_path: Path) -> None:
    other = samples.barge_in()
    other.scenario = replace(other.scenario, where=Where(Path("./more/talk.yaml"), 2))
    root = written(tmp_path, *samples.one_of_each(), other)
    assert root.tag == "testsuites"
    assert [(it.attrib["name"], it.attrib["tests"]) for it in root] == [
        ("scenarios/appointments.yaml", "5"),
        ("more/talk.yaml", "1"),
    ]
    assert {name: root.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    (case,) = root[1]
    assert case.attrib["classname"] == "more.talk"
    assert case.attrib["line"] == "2"
    assert float(case.attrib["time"]) == other.took_secs


def test_a_failure_has_its_place_and_what_was_seen(tmp_path: Path) -> None:
    case = cases(written(tmp_path, samples.failed()))["opening_hours"]
    (failure,) = case.findall("failure")
    assert failure.attrib["message"] == (
        "scenarios/appointments.yaml:47: expected response with “nine to five” within 3000 ms"
        " — saw response came late, at 12.40 s"
    )
    assert failure.text is not None
    assert "scenarios/appointments.yaml:58: expected end_reason: caller — saw agent" in failure.text


def test_each_verdict_has_its_element(tmp_path: Path) -> None:
    by_name = cases(written(tmp_path, *samples.one_of_each()))
    found = {
        name: [it.tag for it in case if it.tag != "system-out"] for name, case in by_name.items()
    }
    assert found == {
        "barge_in": [],
        "opening_hours": ["failure"],
        "invalid_model": ["error"],
        "persona": ["skipped"],
        "no_answer": [],
    }
    assert "an impatient customer" in by_name["persona"][0].attrib["message"]
    assert "did not become ready" in by_name["invalid_model"][0].attrib["message"]


def test_the_transcript_is_the_cases_output(tmp_path: Path) -> None:
    told = cases(written(tmp_path, samples.barge_in()))["barge_in"].findtext("system-out")
    assert told is not None
    lines = told.splitlines()
    assert lines[1].split(maxsplit=2) == ["0:06.0", "caller", "What should I bring with me?"]
    assert lines[2].endswith("[interrupted]")
    assert "outcome: completed, ended by agent" in lines


def test_what_was_not_checked_is_told_even_when_the_rest_was(tmp_path: Path) -> None:
    told = cases(written(tmp_path, samples.failed()))["opening_hours"].findtext("system-out")
    assert told is not None
    assert "not checked: scenarios/appointments.yaml:49: eval: the agent sounds friendly" in told


def test_repetitions_are_cases_of_their_own(tmp_path: Path) -> None:
    call = samples.no_answer()
    root = written(tmp_path, call, samples.repetition(call, 2, passed=False))
    by_name = cases(root)
    assert list(by_name) == ["no_answer", "no_answer[2]"]
    assert by_name["no_answer[2]"].find("failure") is not None


@pytest.mark.parametrize("text", ["a\0b", "\x1b[31m", "\ud800", "\uffff", "<&\"'>]]>"])
def test_any_text_gives_xml_that_can_be_read(tmp_path: Path, text: str) -> None:
    call = samples.failed()
    call.failures = [Failure(Where(Path("a.yaml"), 1), text, text)]
    call.transcript = [{"who": text, "text": text, "start_ms": 1}]
    failure = cases(written(tmp_path, call))["opening_hours"].find("failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("a.yaml:1: expected ")


def test_a_replay_that_broke_keeps_what_had_failed_before(tmp_path: Path) -> None:
    call = samples.failed()
    call.verdict, call.problem = Verdict.BROKEN, "OSError: gone"
    error = cases(written(tmp_path, call))["opening_hours"].find("error")
    assert error is not None
    assert error.text is not None
    assert "OSError: gone" in error.text
    assert "end_reason: caller" in error.text
