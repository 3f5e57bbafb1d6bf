"""A call's steps as one Pipecat pipeline, made ready and put away with few tasks.

Pipecat sets each processor up, and cleans it up, in a task of its own, since one may take long. A
step that has nothing of its own to do there takes no time at all:

    setup      quick · quick · quick ─▶ ┬ slow ┬ ─▶ up
                                        └ slow ┘
    cleanup    ┬ slow ┬ ─▶ quick · quick · quick
               └ slow ┘
"""

from collections.abc import Sequence

from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.processors.frame_processor import FrameProcessor, FrameProcessorSetup

from processors.direct import DirectProcessor


class CallPipeline(Pipeline):
    """`Pipeline`; no frame reaches a step before it is set up, as there."""

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]
        """Set the steps up: the quick ones first, while no frame is let in."""
        for processor in filter(_sets_up_at_once, self._processors):
            await self._setup_processor(processor, setup)
        await super().setup(setup)

    async def _setup_processors(
        self, processors: Sequence[FrameProcessor], setup: FrameProcessorSetup
    ) -> None:
        slow = [each for each in processors if not _sets_up_at_once(each)]
        await super()._setup_processors(slow, setup)

    async def _cleanup_processors(self, processors: Sequence[FrameProcessor]) -> None:
        await super()._cleanup_processors([each for each in processors if not _ends_at_once(each)])
        for processor in filter(_ends_at_once, processors):
            await processor.cleanup()


def _sets_up_at_once(processor: FrameProcessor) -> bool:
    """Whether its setup is Pipecat's own, which waits for nothing."""
    return type(processor).setup is FrameProcessor.setup


def _ends_at_once(processor: FrameProcessor) -> bool:
    """Whether its cleanup is Pipecat's own, with neither queues nor tasks to stop."""
    if type(processor).cleanup is not FrameProcessor.cleanup:
        return False
    return isinstance(processor, DirectProcessor | PipelineSource | PipelineSink)
