"""Plays a cassette as `voice-ai replay` plays a scenario: a `Replay` with what differs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipelines.definition import PipelineDefinition
from server.cassettes.blocks import CassetteError
from server.cassettes.cassette import Cassette, read_cassettes
from server.replay.cassettes.comparing import Comparison, Difference, compare
from server.replay.cassettes.heard_sound import both_sides
from server.replay.cassettes.outgoing import OurSide
from server.replay.cassettes.picture import picture
from server.replay.cassettes.replaying import Replayed, replay_cassette
from server.replay.cassettes.step_trace import Culprit, StepTrace
from server.replay.problems import Problem, ScenarioError
from server.replay.results import Failure, Happened, Replay, Stretch, Verdict
from server.replay.scenario import CallPlan, Scenario, Where

SUFFIX = ".cassette"
# What each step did when the cassette was last accepted.
TRACE_SUFFIX = ".trace.json"


def read_cassette(path: Path, key: bytes | None) -> Cassette:
    """The first process's part of a call. Raises: ScenarioError."""
    try:
        return read_cassettes(path, key)[0]
    except CassetteError as error:
        expected, _, got = str(error).removeprefix(f"{path}: ").partition(", got ")
        expected = expected.removeprefix("expected ")
        says = f"expected {expected}, got {got or 'what cannot be played'}"
        problem = Problem(Where(path, 1), "cassette", says)
        raise ScenarioError([problem]) from None


def trace_path(cassette: Path) -> Path:
    """Where the trace of a cassette's steps is kept."""
    return cassette.with_suffix(TRACE_SUFFIX)


async def play_cassette(
    scenario: Scenario, key: bytes | None = None, definition: PipelineDefinition | None = None
) -> Replay:
    """Play a scenario's cassette once. Never raises: what breaks is in the replay."""
    assert scenario.cassette is not None
    began = time.perf_counter()
    replay = Replay(scenario, Verdict.BROKEN)
    try:
        cassette = read_cassette(scenario.cassette, key)
        replayed = await replay_cassette(cassette, definition)
        trace = StepTrace.read(trace_path(scenario.cassette))
        comparison = compare(cassette, replayed, trace)
        _fill(replay, cassette, replayed, comparison)
    except Exception as problem:
        replay.verdict = Verdict.BROKEN
        replay.problem = str(problem) if str(problem) else type(problem).__name__
    replay.took_secs = time.perf_counter() - began
    return replay


def _fill(replay: Replay, cassette: Cassette, replayed: Replayed, comparison: Comparison) -> None:
    end = cassette.end or {}
    replay.call_id = cassette.head.call_id
    replay.scenario = _described(replay.scenario, cassette)
    replay.status = str(end.get("status", ""))
    replay.end_reason = end.get("end_reason")
    replay.call_secs = cassette.duration_secs
    replay.failures = failures(replay.scenario.where, comparison)
    replay.verdict = Verdict.FAILED if replay.failures else Verdict.PASSED
    now = comparison.now
    replay.transcript = [turn for _, turn in now.turns]
    replay.speech = [_stretch(turn) for turn in replay.transcript]
    replay.timeline = _timeline(now, cassette.answered_at or 0.0, comparison)
    replay.sound = both_sides(replayed.messages, cassette.answered_at or 0.0)


def failures(where: Where, comparison: Comparison) -> list[Failure]:
    """The differences as failures; the first one names the step that it comes from."""
    found = []
    for number, difference in enumerate(comparison.differences):
        step = f", by the step {_named(comparison.culprit)}" if comparison.culprit else ""
        expected = f"{_NAMES[difference.where]} at {difference.at:.3f} s: {difference.expected}"
        seen = difference.seen + ("" if number else step)
        drawn = "" if number else _picture(difference, comparison)
        found.append(Failure(where, expected, seen, picture=drawn))
    return found


_NAMES = {
    "sound": "the same sound",
    "time": "it as early",
    "heard": "the same sound to Gemini",
    "told": "the same message to Gemini",
    "turn": "the same turn in the record",
    "event": "the same event in the record",
    "end": "the same end",
}


def _named(culprit: Culprit) -> str:
    new = " (new in this pipeline)" if culprit.is_new else ""
    return f"{culprit.step!r}{new}"


def _picture(difference: Difference, comparison: Comparison) -> str:
    if difference.position is None:
        return ""
    before, now = comparison.before.sound.audio, comparison.now.sound.audio
    return picture(bytes(before), bytes(now), difference.position)


def _described(scenario: Scenario, cassette: Cassette) -> Scenario:
    head = cassette.head
    call = CallPlan(
        direction="inbound" if head.direction == "inbound" else "outbound",
        number=head.phone_number,
        request={"pipeline": head.pipeline},
    )
    return Scenario(scenario.name, scenario.where, call, cassette=scenario.cassette)


def _stretch(turn: dict[str, object]) -> Stretch:
    start, end = (float(str(turn[name])) / 1000 for name in ("start_ms", "end_ms"))
    who: Literal["agent", "caller"] = "agent" if turn["who"] == "agent" else "caller"
    return Stretch(who, start, end, str(turn["text"]), bool(turn["interrupted"]))


def _timeline(now: OurSide, answered: float, comparison: Comparison) -> list[Happened]:
    events: list[Happened] = [Happened(0.0, "phone", "in-progress")]
    for at, turn in now.turns:
        lane, kind = ("agent", "response") if turn["who"] == "agent" else ("caller", "says")
        events.append(Happened(at - answered, lane, kind, str(turn["text"])))  # type: ignore[arg-type]
    for at, kind, detail in now.events:
        if kind == "tool.called":
            events.append(Happened(at - answered, "tool", "function_call", detail=dict(detail)))
    for _, at, sign in now.sound.signs:
        if sign == "clear":
            events.append(Happened(at - answered, "phone", "bot_interrupted"))
    differences: Sequence[Difference] = comparison.differences[:1]
    events += [Happened(d.at, "phone", "differs", d.seen) for d in differences]
    return sorted(events, key=lambda event: event.at)
