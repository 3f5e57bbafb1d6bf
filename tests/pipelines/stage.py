"""A pipeline around the steps under test: frames go in at the front, and what comes out is kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipecat.frames.frames import Frame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner


class Recorder(FrameProcessor):
    """Keeps every frame that passes, with its direction, and wakes who waits for one."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self.frames: list[tuple[Frame, FrameDirection]] = []
        self._changed = asyncio.Condition()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append((frame, direction))
        async with self._changed:
            self._changed.notify_all()
        await self.push_frame(frame, direction)

    def of(self, kind: type[Frame], direction: FrameDirection | None = None) -> list[Frame]:
        return [f for f, d in self.frames if isinstance(f, kind) and direction in (None, d)]

    async def until(self, reached: Callable[["Recorder"], object]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(reached(self)))


class Stage:
    """`before` sees what goes upstream out of the steps, `after` what goes downstream."""

    def __init__(self, *steps: FrameProcessor, params: PipelineParams | None = None) -> None:
        self.before, self.after = Recorder(), Recorder()
        self.worker = PipelineWorker(
            Pipeline([self.before, *steps, self.after]),
            params=params,
            idle_timeout_secs=None,
            enable_turn_tracking=False,
            enable_rtvi=False,
        )

    async def down(self, *frames: Frame) -> None:
        """Push frames in at the front, one after the other."""
        for frame in frames:
            await self.before.push_frame(frame)

    async def up(self, *frames: Frame) -> None:
        """Push frames in at the back."""
        for frame in frames:
            await self.after.push_frame(frame, FrameDirection.UPSTREAM)


@asynccontextmanager
async def on_stage(
    *steps: FrameProcessor, params: PipelineParams | None = None
) -> AsyncIterator[Stage]:
    """A running pipeline; it is cancelled at the end if it still runs."""
    stage = Stage(*steps, params=params)
    started = asyncio.Event()

    async def on_started(*_: object) -> None:
        started.set()

    stage.worker.add_event_handler("on_pipeline_started", on_started)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(stage.worker)
    running = asyncio.create_task(runner.run())
    await started.wait()
    try:
        yield stage
    finally:
        await stage.worker.cancel()
        await running
