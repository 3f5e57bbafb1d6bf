"""A definition leads sound around the steps that do not hear it, whoever wrote them."""

import asyncio
from collections.abc import Callable

import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agent.ports import LiveCall
from agent.tools.hang_up import hang_up
from pipelines.call import catalogue
from pipelines.call.audio_routing import route_audio
from pipelines.definition import DefinitionError, PipelineDefinition, Step
from pipelines.steps import (
    custom,
    gemini_live,
    keypad,
    record_turns,
    remember_caller,
    resample,
    transport_input,
    transport_output,
)
from processors.direct import DirectProcessor
from tests.pipelines.call.test_run_call import call, scene
from tests.pipelines.tone import mulaw_tone


class Ordinary(FrameProcessor):
    """A processor as Pipecat's documentation writes one: it has queues, and passes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self.came.append(frame)
        await self.push_frame(frame, direction)

    def count(self, kind: type[Frame]) -> int:
        return sum(isinstance(frame, kind) for frame in self.came)


def definition(*between: Step, behind: tuple[Step, ...] = ()) -> PipelineDefinition:
    return PipelineDefinition(
        name="mine",
        tools=[hang_up],
        steps=[
            transport_input(),
            resample(to=16_000),
            *between,
            gemini_live(),
            *behind,
            transport_output(),
            record_turns(),
        ],
    )


def made(processor: FrameProcessor) -> Callable[[object], FrameProcessor]:
    return lambda _: processor


@scene
async def test_a_processor_of_anybodys_sees_every_packet_and_every_chunk_once() -> None:
    hears, speaks = Ordinary(), Ordinary()
    steps = definition(
        keypad(),
        custom("hears", made(hears)),
        remember_caller(),
        behind=(custom("speaks", made(speaks)),),
    )
    async with call(definition=steps) as stage:
        session = await stage.greeted()
        session.speaks("That is all.", 2.0)
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(4.01)  # between two packets
        packets = stage.running.line.packets_received
        assert hears.count(InputAudioRawFrame) == packets > 150
        assert len(session.audio) == packets
        assert {f.sample_rate for f in hears.came if isinstance(f, InputAudioRawFrame)} == {16_000}
        assert speaks.count(TTSAudioRawFrame) >= 50
        assert speaks.count(InputAudioRawFrame) == 0
        assert hears.count(OutputAudioRawFrame) == 0


@scene
async def test_a_step_gets_no_sound_that_it_does_not_take() -> None:
    unhearing, hears = Ordinary(), Ordinary()
    steps = definition(
        custom("unhearing", made(unhearing), takes=[UserStartedSpeakingFrame]),
        custom("hears", made(hears), takes=[InputAudioRawFrame]),
        behind=(custom("between", made(between := Ordinary()), takes=[UserStartedSpeakingFrame]),),
    )
    async with call(definition=steps) as stage:
        session = await stage.greeted()
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(2.01)  # between two packets
        packets = stage.running.line.packets_received
        assert unhearing.count(InputAudioRawFrame) == 0
        assert unhearing.count(UserStartedSpeakingFrame) == 1
        assert hears.count(InputAudioRawFrame) == len(session.audio) == packets
        # What the agent says must not overtake its interruptions, which go through the queue.
        assert between.count(OutputAudioRawFrame) == len(stage.phone.events("media")) - 1 > 0


def test_a_step_that_takes_what_nobody_gives_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'mine' waits for LLMTextFrame"):
        definition(custom("mine", made(Ordinary()), takes=[LLMTextFrame]))


def test_a_step_that_takes_what_every_processor_is_told_is_not() -> None:
    steps = definition(custom("mine", made(Ordinary()), takes=[StartFrame, EndFrame, CancelFrame]))
    assert [step.name for step in steps.steps][2] == "mine"


async def test_between_our_own_steps_nothing_stands() -> None:
    steps = catalogue.find("phone_call").steps
    built: list[FrameProcessor] = [DirectProcessor() for _ in steps]
    laid = route_audio(
        built,
        {
            InputAudioRawFrame: [step.caller for step in steps],
            OutputAudioRawFrame: [step.agent for step in steps],
        },
    )
    assert laid == built
    by_name = {step.name: processor for step, processor in zip(steps, built, strict=True)}
    ways = {
        step.name: next(name for name, one in by_name.items() if one is processor.sound_to)
        for step, processor in zip(steps, built, strict=True)
        if isinstance(processor, DirectProcessor) and processor.sound_to is not None
    }
    assert ways == {
        "transport_input": "answer_shield",
        "answer_shield": "resample(to=16000)",
        "resample(to=16000)": "gemini_live",
        "gemini_live": "transport_output",
    }


@scene
async def test_a_reply_right_behind_an_interruption_is_heard_behind_a_step_with_queues() -> None:
    steps = definition(behind=(custom("between", made(Ordinary()), takes=[TTSTextFrame]),))
    async with call(definition=steps) as stage:
        session = await stage.greeted()
        session.speaks("A long story.", 5.0, completes=False)
        await asyncio.sleep(1)
        session.content(interrupted=True)
        session.speaks("Fresh reply.", 1.0)
        await asyncio.sleep(3)
    said = [(text, cut) for _, text, cut in stage.transcript()]
    assert said[-1] == ("Fresh reply.", False)
    assert said[-2][1]


@scene
async def test_the_call_that_a_step_was_given_may_be_asked_for_things_when_it_is_over() -> None:
    given: list[LiveCall] = []

    def build(live_call: LiveCall) -> FrameProcessor:
        given.append(live_call)
        return kept

    kept = Ordinary()
    async with call(definition=definition(custom("mine", build))) as stage:
        await stage.greeted()
    await given[0].say("Too late.")
    await given[0].hang_up()
    assert kept.came, "what a step has collected is its own"
