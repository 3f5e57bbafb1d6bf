"""A step of one's own that ends the call: at once, or when what the agent is saying was heard."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from pipecat.frames.frames import Frame, InputDTMFFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agent.ports import LiveCall
from agent.record.models import EndReason, Speaker
from pipelines.definition import PipelineDefinition
from pipelines.steps import custom, gemini_live, record_turns, resample, transport_input
from pipelines.steps import transport_output as speaker
from tests import virtual_time
from tests.pipelines.call.test_run_call import OnStage, call, scene
from tests.pipelines.model import PlayedSession

Ends = Callable[[LiveCall], Awaitable[None]]


class Menu(FrameProcessor):
    """Acts on a key."""

    def __init__(self, call: LiveCall, ends: Ends) -> None:
        super().__init__()
        self._call = call
        self._ends = ends

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame):
            await self._ends(self._call)


def menu(ends: Ends) -> PipelineDefinition:
    own = custom("menu", lambda call: Menu(call, ends), takes=[InputDTMFFrame])
    steps = [transport_input(), own, resample(to=16_000), gemini_live(), speaker(), record_turns()]
    return PipelineDefinition("menu", steps=steps)


async def hangs_up(call: LiveCall) -> None:
    await call.hang_up()


async def transfers(call: LiveCall) -> None:
    await call.transfer("+15550177")


async def says_goodbye(call: LiveCall) -> None:
    await call.say("Goodbye.")
    await call.hang_up()


async def press(stage: OnStage) -> float:
    """Press a key; the time."""
    key = {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "0"}}
    await stage.running.line.receive(json.dumps(key))
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("ends", "goes_to"), [(hangs_up, None), (transfers, "+15550177")])
def test_nobody_waits_when_the_agent_is_silent(ends: Ends, goes_to: str | None) -> None:
    async def play() -> None:
        async with call(definition=menu(ends)) as stage:
            await stage.greeted()
            pressed = await press(stage)
            summary = await stage.running.ended()
            assert (summary.reason, summary.transfer_to) == (EndReason.AGENT, goes_to)
            assert asyncio.get_running_loop().time() - pressed < 0.1

    virtual_time.run(play())


@pytest.mark.parametrize("ends", [hangs_up, transfers])
def test_what_the_agent_is_saying_is_heard_to_its_end(ends: Ends) -> None:
    async def play() -> None:
        async with call(definition=menu(ends)) as stage:
            session = await stage.greeted()
            session.speaks("One moment please.", 2.0, completes=False)
            await asyncio.sleep(0.5)
            pressed = await press(stage)
            await asyncio.sleep(0.5)
            session.content(generation_complete=True)
            session.content(turn_complete=True)
            await stage.running.ended()
            assert 1.4 <= asyncio.get_running_loop().time() - pressed < 1.8
        assert stage.transcript()[-1] == (Speaker.AGENT, "One moment please.", False)

    virtual_time.run(play())


@scene
async def test_what_was_said_and_is_not_yet_heard_is_heard_to_its_end() -> None:
    async with call(definition=menu(hangs_up)) as stage:
        session = await stage.greeted()
        session.speaks("One moment please.", 2.0)
        await asyncio.sleep(0.5)
        pressed = await press(stage)
        await stage.running.ended()
        assert 1.4 <= asyncio.get_running_loop().time() - pressed < 1.8


async def answer(session: PlayedSession, text: str) -> None:
    await session.until(lambda s: len(s.texts) > 1)
    await asyncio.sleep(0.5)
    session.speaks(text, 1.0)


@scene
async def test_what_the_agent_was_told_to_say_is_heard_to_its_end() -> None:
    async with call(definition=menu(says_goodbye)) as stage:
        session = await stage.greeted()
        saying = asyncio.create_task(answer(session, "Goodbye."))
        pressed = await press(stage)
        await stage.running.ended()
        await saying
        assert 1.4 <= asyncio.get_running_loop().time() - pressed < 1.8
    assert stage.transcript()[-1] == (Speaker.AGENT, "Goodbye.", False)


@scene
async def test_a_model_that_was_interrupted_is_not_waited_for() -> None:
    async with call(definition=menu(hangs_up)) as stage:
        session = await stage.greeted()
        session.speaks("One two three.", 3.0, completes=False)
        await asyncio.sleep(0.5)
        session.content(interrupted=True)
        await asyncio.sleep(0.1)
        pressed = await press(stage)
        await stage.running.ended()
        assert asyncio.get_running_loop().time() - pressed < 0.2
