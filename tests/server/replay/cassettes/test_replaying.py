"""A cassette replayed: the same bytes every time, and every fault of our side found and named."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pipecat.processors.frame_processor import FrameProcessor

from pipelines.definition import PipelineDefinition, Role
from pipelines.gemini.tools import Tool, ToolFunction
from pipelines.recording.tape import Kind
from server.cassettes.blocks import CassetteError
from server.replay.cassettes import playing
from server.replay.cassettes.broken_steps import (
    AnswersLate,
    ChangesSound,
    DoublesAPacket,
    DropsEvery50thPacket,
    InterruptsLate,
    LosesADigit,
    LosesLastWord,
    TellsUnheardWords,
    click,
    three_db_less,
    with_step,
)
from server.replay.cassettes.comparing import compare
from server.replay.cassettes.outgoing import phone_messages
from server.replay.cassettes.playing import failures
from server.replay.results import Verdict
from server.replay.scenario import CallPlan, Scenario, Where
from server.replay.virtual_time import VirtualTimeLoop
from tests.server.replay.cassettes.recorded_call import (
    compared,
    its_pipeline,
    recorded,
    replay,
)

WHERE = Where(Path("everything.cassette"), 1)


def test_the_cassette_holds_both_wires_the_record_and_what_ran() -> None:
    cassette = recorded()

    kinds = {message.kind for message in cassette.messages}
    assert kinds >= {
        *(Kind.PHONE_BOUND, Kind.PHONE_IN, Kind.PHONE_OUT, Kind.MODEL_OPENED, Kind.MODEL_IN),
        *(Kind.MODEL_OUT, Kind.MODEL_HEARS, Kind.MODEL_CLOSED, Kind.RECORD, Kind.ENDING),
    }
    assert cassette.end == {"status": "completed", "end_reason": "agent"}
    assert cassette.head.pipeline == "reminder"
    assert cassette.head.steps[0] == "transport_input"
    assert cassette.head.versions["pipecat-ai"].startswith("1.")
    settings = json.dumps(dict(cassette.head.settings))
    assert "emulated" not in settings
    assert not any("token" in name or "key" in name for name in cassette.head.settings)


def test_the_same_cassette_gives_the_same_messages_every_time() -> None:
    first = replay()

    assert phone_messages(first.messages) == phone_messages(recorded().messages)
    for _ in range(3):
        assert replay() == first


@pytest.mark.long
def test_twenty_times_the_same_bytes() -> None:
    outputs = {"\n".join(phone_messages(replay().messages)) for _ in range(20)}

    assert len(outputs) == 1


FAULTS: dict[str, tuple[Callable[[], FrameProcessor], Role, str]] = {
    "drops_every_50th": (DropsEvery50thPacket, Role.MODEL, "sound"),
    "answers_late": (AnswersLate, Role.MODEL, "time"),
    "loses_last_word": (LosesLastWord, Role.MODEL, "turn"),
    "three_db_less": (lambda: ChangesSound(three_db_less), Role.MODEL, "sound"),
    "clicks": (lambda: ChangesSound(click), Role.MODEL, "sound"),
    "doubles_a_packet": (DoublesAPacket, Role.MODEL, "sound"),
    "interrupts_late": (InterruptsLate, Role.MODEL, "sound"),
    "loses_a_digit": (LosesADigit, Role.TRANSPORT_INPUT, "told"),
    "tells_unheard_words": (TellsUnheardWords, Role.TRANSPORT_OUTPUT, "turn"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_step_is_caught_and_named(name: str) -> None:
    build, behind, where = FAULTS[name]

    comparison = compared(with_step(its_pipeline(), name, build, behind=behind))

    assert where in {difference.where for difference in comparison.differences}
    assert comparison.culprit is not None
    assert comparison.culprit.step == name


def with_tool(name: str, function: Callable[[Tool], ToolFunction]) -> PipelineDefinition:
    """The pipeline with another function for one of its tools."""
    definition = its_pipeline()
    return PipelineDefinition(
        definition.name,
        steps=definition.steps,
        tools=[
            replace(tool, function=function(tool)) if tool.name == name else tool
            for tool in definition.tools
        ],
        profile=definition.profile,
    )


def test_a_wrong_tool_argument_is_caught() -> None:
    def wrong(tool: Tool) -> ToolFunction:
        async def call(**values: Any) -> Any:
            return await tool.function(**{**values, "wish": "Thursday"})

        return call

    differences = compared(with_tool("move_appointment", wrong)).differences

    assert [d.where for d in differences] == ["event"]
    assert "Friday" in differences[0].expected
    assert "Thursday" in differences[0].seen


def test_a_wrong_outcome_is_caught() -> None:
    def stay(_: Tool) -> ToolFunction:
        async def call(**_: Any) -> None:
            """Does not hang up."""

        return call

    differences = compared(with_tool("hang_up", stay)).differences

    assert "end" in {difference.where for difference in differences}


def test_a_changed_byte_of_sound_is_found_with_its_time_and_both_are_drawn() -> None:
    comparison = compared(with_step(its_pipeline(), "clicks", lambda: ChangesSound(click)))

    first = failures(WHERE, comparison)[0]

    before, now = comparison.before.sound.audio, comparison.now.sound.audio
    at = next(d.position for d in comparison.differences if d.where == "sound")
    assert at is not None
    assert before[:at] == now[:at]
    assert before[at] != now[at]
    assert "recorded" in first.picture
    assert "replayed" in first.picture
    assert "'clicks' (new in this pipeline)" in first.seen


def test_without_a_trace_an_added_step_is_named() -> None:
    definition = with_step(its_pipeline(), "clicks", lambda: ChangesSound(click))

    comparison = compare(recorded(), replay(definition))

    assert comparison.culprit is not None
    assert comparison.culprit.step == "clicks"


def test_a_cassette_of_a_pipeline_that_is_no_more_is_refused_in_a_sentence() -> None:
    stranger = replace(recorded(), head=replace(recorded().head, pipeline="gone"))

    with pytest.raises(CassetteError, match=r"expected one of the pipelines .*, got .*'gone'"):
        replay(of=stranger)


def test_what_cannot_be_compared_breaks_its_replay_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a cassette like no other")

    monkeypatch.setattr(playing, "compare", fails)
    scenario = Scenario("one", WHERE, CallPlan(), cassette=recorded().path)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        played = runner.run(playing.play_cassette(scenario))
    assert (played.verdict, played.problem) == (Verdict.BROKEN, "a cassette like no other")
