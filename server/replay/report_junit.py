"""What replays came to, as JUnit XML: a suite per file, a case per scenario and repetition.

Source: the schema of Jenkins' xunit plugin, which GitLab and GitHub's actions read as well:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from server.replay.page.figures import milliseconds, moment, p50
from server.replay.results import Failure, Replay, Verdict


def write_junit(replays: Sequence[Replay], path: Path) -> None:
    """Write the XML to `path`; folders on the way are made. Times are seconds on the wall's clock.

    The first repetition bears the scenario's name, the others `name[2]` and so on.

    Raises: OSError when the file cannot be written.
    """
    suites = Element("testsuites", {"name": "voice-ai replay", **_counts(replays)})
    by_file: dict[Path, list[Replay]] = {}
    for replay in replays:
        by_file.setdefault(replay.scenario.where.path, []).append(replay)
    for file, in_file in by_file.items():
        suite = SubElement(suites, "testsuite", {"name": _legal(str(file)), **_counts(in_file)})
        for replay in in_file:
            suite.append(_case(replay))
    ElementTree.indent(suites)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _counts(replays: Sequence[Replay]) -> dict[str, str]:
    verdicts = [replay.verdict for replay in replays]
    return {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(Verdict.FAILED)),
        "errors": str(verdicts.count(Verdict.BROKEN)),
        "skipped": str(verdicts.count(Verdict.NOT_CHECKED)),
        "time": f"{sum(replay.took_secs for replay in replays):.3f}",
    }


def _case(replay: Replay) -> Element:
    where = replay.scenario.where
    name = replay.scenario.name.rpartition("/")[2]
    if replay.repetition > 1:
        name += f"[{replay.repetition}]"
    parts = [part for part in where.path.with_suffix("").parts if part.strip("./\\")]
    case = Element(
        "testcase",
        name=_legal(name),
        classname=_legal(".".join(parts)),
        file=_legal(str(where.path)),
        line=str(where.line),
        time=f"{replay.took_secs:.3f}",
    )
    match replay.verdict:
        case Verdict.FAILED:
            failures = [_in_words(failure) for failure in replay.failures]
            failures += [f"note: {note}" for note in replay.notes]
            message = failures[0] if failures else "failed"
            what = SubElement(case, "failure", message=_legal(message), type="expectation")
            what.text = _legal("\n".join(failures))
        case Verdict.BROKEN:
            problem = replay.problem or "the replay broke"
            what = SubElement(case, "error", message=_legal(problem), type="replay")
            seen = [f"{where}: {problem}", *map(_in_words, replay.failures)]
            what.text = _legal("\n".join(seen))
        case Verdict.NOT_CHECKED:
            reasons = [f"{it.where}: {it.what}" for it in replay.not_checked]
            SubElement(case, "skipped", message=_legal("; ".join(reasons) or "not checked"))
        case Verdict.PASSED:
            pass
    if told := _told(replay):
        SubElement(case, "system-out").text = _legal(told)
    return case


def _in_words(failure: Failure) -> str:
    return f"{failure.where}: expected {failure.expected} — saw {failure.seen}"


def _told(replay: Replay) -> str:
    """The transcript, the figures of the call, and what was not checked, line by line."""
    lines = []
    for turn in replay.transcript:
        start = turn.get("start_ms")
        at = moment(start / 1000) if isinstance(start, int | float) else ""
        cut = " [interrupted]" if turn.get("interrupted") else ""
        lines.append(f"{at:>8}  {turn.get('who', ''):<6}  {turn.get('text', '')}{cut}")
    if (middle := p50(replay.response_ms)) is not None:
        lines.append(f"response times: half within {milliseconds(middle)}")
    if replay.status:
        reason = f", ended by {replay.end_reason}" if replay.end_reason else ""
        lines.append(f"outcome: {replay.status}{reason}")
    lines.extend(f"note: {note}" for note in replay.notes)
    lines.extend(f"not checked: {it.where}: {it.what}" for it in replay.not_checked)
    return "\n".join(lines)


def _legal(text: str) -> str:
    """Without the characters that XML 1.0 has no way to write."""
    return "".join(char if _is_legal(char) else "\ufffd" for char in text)


def _is_legal(char: str) -> bool:
    code = ord(char)
    return char in "\t\n\r" or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code > 0xFFFF
