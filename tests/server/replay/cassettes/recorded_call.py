"""A call with everything in it, recorded once: a barge-in, keys, a tool, and a goodbye."""

import asyncio
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.call import catalogue
from pipelines.definition import PipelineDefinition
from server.cassettes.cassette import Cassette, read_cassettes
from server.replay.cassettes.comparing import Comparison, compare
from server.replay.cassettes.replaying import Replayed, replay_cassette
from server.replay.cassettes.step_trace import StepTrace
from server.replay.player import PlayOptions
from server.replay.reading import read_scenarios
from server.replay.results import Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.virtual_time import VirtualTimeLoop

SCENARIO = """
name: everything
call: {pipeline: reminder, greeting: "Hello, will you come?", metadata: {name: Ms Lee}}
gemini:
  rules:
    - {hears: "What should I bring?", say: "Please bring your card, a list of what you take, and all the letters that you have."}
    - {hears: "Can I come on Friday?", call: {name: move_appointment, args: {wish: Friday}}}
    - {tool_result: move_appointment, say: "That is noted."}
    - text_contains: "pressed 4 2"
      do: [{say: "Thank you. Goodbye."}, {call: {name: hang_up}}]
turns:
  - expect: [{event: response}]
  - user: "What should I bring?"
    expect: [{event: bot_started_speaking}]
  - user: "Can I come on Friday?"
    send_after: {event: bot_started_speaking, delay_ms: 1500}
    expect: [{event: response, text_contains: "noted"}]
  - dtmf: "42"
outcome: {status: completed, end_reason: agent}
"""  # noqa: E501

_FOLDER = TemporaryDirectory(prefix="voice-ai-recorded-call-")


@cache
def recorded() -> Cassette:
    """The cassette; its file stays as long as this process."""
    return cassette_of(SCENARIO, Path(_FOLDER.name))


def cassette_of(scenario_text: str, folder: Path, pipelines: tuple[str, ...] = ()) -> Cassette:
    """A cassette of a scenario that holds, kept in an empty folder; `pipelines` as PIPELINES."""
    file = folder / "everything.yaml"
    file.write_text(scenario_text)
    (scenario,) = read_scenarios(file)
    options = PlayOptions(cassettes=folder, pipelines=pipelines)
    replay = play_one(scenario, RunOptions(play=options))
    assert replay.verdict is Verdict.PASSED, (replay.failures, replay.problem)
    (path,) = folder.glob("*.cassette")
    (cassette,) = read_cassettes(path)
    return cassette


def replay(definition: PipelineDefinition | None = None, of: Cassette | None = None) -> Replayed:
    """Replay it, with its own pipeline or another."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(replay_cassette(of or recorded(), definition))


@cache
def accepted() -> StepTrace:
    """What each step did in a replay that was the same."""
    replayed = replay()
    assert compare(recorded(), replayed).is_same
    return replayed.trace


def compared(definition: PipelineDefinition) -> Comparison:
    """Replay with another pipeline, and compare."""
    trace = accepted()
    return compare(recorded(), replay(definition), trace)


def its_pipeline() -> PipelineDefinition:
    """The pipeline that ran."""
    return catalogue.find(recorded().head.pipeline)
