"""Steps of somebody else's in a call: set up side by side, and all cleaned up."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pipecat.frames.frames import Frame, StartFrame
from pipecat.processors.frame_processor import (
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
)

from pipelines.definition import PipelineDefinition
from pipelines.steps import custom, gemini_live, resample, transport_input, transport_output
from tests.pipelines.call.test_run_call import call, scene


class Passes(FrameProcessor):
    """Passes every frame; it has queues, and nothing to set up."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class Connects(Passes):
    """Has something to do when it is set up, and when it is cleaned up."""

    def __init__(
        self,
        connects: Callable[[], Coroutine[Any, Any, object]],
        *,
        closes: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._connects = connects
        self._closes = closes
        self.is_set_up = False
        self.is_clean = False
        self.started = asyncio.Event()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await self._connects()
        self.is_set_up = True

    async def cleanup(self) -> None:
        await super().cleanup()
        self._closes()
        self.is_clean = True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, StartFrame):
            assert self.is_set_up
            self.started.set()
        await super().process_frame(frame, direction)


async def _at_once() -> None:
    pass


def _fails() -> None:
    raise RuntimeError("it does not close")


def definition(*between: FrameProcessor) -> PipelineDefinition:
    steps = [custom(f"step_{n}", lambda _, each=each: each) for n, each in enumerate(between)]
    return PipelineDefinition(
        "mine",
        steps=[transport_input(), resample(to=16_000), *steps, gemini_live(), transport_output()],
    )


@scene
async def test_a_step_that_is_slow_to_be_set_up_starts_when_it_is_ready() -> None:
    ready = asyncio.Event()
    slow = Connects(ready.wait)
    async with call(definition=definition(slow, Passes())) as stage:
        await asyncio.sleep(1)
        assert not slow.started.is_set()
        ready.set()
        await stage.greeted()
        assert slow.started.is_set()


@scene
async def test_steps_that_are_slow_to_be_set_up_do_not_wait_for_each_other() -> None:
    both = asyncio.Barrier(2)
    first, second = Connects(both.wait), Connects(both.wait)
    async with call(definition=definition(first, Passes(), second)) as stage:
        await stage.greeted()
        assert first.started.is_set()
        assert second.started.is_set()


@scene
async def test_a_step_that_cannot_be_cleaned_up_keeps_nobody_else_from_it() -> None:
    before = asyncio.all_tasks()
    broken, sound = Connects(_at_once, closes=_fails), Connects(_at_once)
    async with call(definition=definition(broken, Passes(), sound)) as stage:
        await stage.greeted()
    assert sound.is_clean
    assert not broken.is_clean
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
