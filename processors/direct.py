"""What our steps share: they run at once, and sound takes the short way through them.

Pipecat gives each frame to each processor of a call, with a hook, an observer and a log line at
every hop. That is right for what happens now and then; sound happens a hundred times a second. A
step that hears one kind of sound gets it by `hear`, straight from the step that gave it, and the
definition lays the way around all steps that do not hear it.

    transport_input ──▶ keypad ──▶ loudness ──▶ remember_caller ──▶ model        all other frames
        └───────────────────────▲ └─────────────────────────────▲           the caller's sound
"""

from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    FrameProcessorPauseFrame,
    FrameProcessorPauseUrgentFrame,
    FrameProcessorResumeFrame,
    FrameProcessorResumeUrgentFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import (
    FrameCallback,
    FrameDirection,
    FrameProcessor,
)

Sound = InputAudioRawFrame | OutputAudioRawFrame


# What a processor of Pipecat's acts on by itself.
_ITS_OWN = (
    StartFrame,
    InterruptionFrame,
    CancelFrame,
    FrameProcessorPauseFrame,
    FrameProcessorPauseUrgentFrame,
    FrameProcessorResumeFrame,
    FrameProcessorResumeUrgentFrame,
)


class DirectProcessor(FrameProcessor):
    """A processor without queues or tasks: what it is given, it has done when that call returns.

    Pipecat's hooks (`on_before_push_frame` and its like) and observers are not told of its frames.
    """

    # The one kind of sound that comes by `hear` and not by `process_frame`, if any does.
    hears: type[Sound] | None = None

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        # Where sound goes that this step gives; None: to the next step, as all else.
        self.sound_to: FrameProcessor | None = None

    async def hear(self, frame: Sound) -> None:
        """Take one piece of the sound that `hears` names."""
        raise TypeError(f"{self} hears nothing")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """What Pipecat does with the frames of a pipeline's life; others it only has observed."""
        if isinstance(frame, _ITS_OWN):
            await super().process_frame(frame, direction)

    async def push_sound(self, frame: Sound) -> None:
        """Give sound to the next step that hears it."""
        following = self.sound_to or self._next
        if following is not None and not self._cancelling:
            await following.queue_frame(frame, FrameDirection.DOWNSTREAM)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Give a frame to the next step, or to the one before."""
        beside = self._next if direction is FrameDirection.DOWNSTREAM else self._prev
        if beside is not None:
            await beside.queue_frame(frame, direction)

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Take a frame now: sound by `hear`, all else by `process_frame`."""
        if callback is not None or isinstance(frame, StartFrame):
            await super().queue_frame(frame, direction, callback)
        elif not self._cancelling:
            try:
                if self.hears is not None and isinstance(frame, self.hears):
                    await self.hear(frame)
                else:
                    await self.process_frame(frame, direction)
            except Exception as error:
                await self.push_error(f"a frame could not be taken: {error}", exception=error)


class AudioBypass(DirectProcessor):
    """Takes sound around the steps behind it, which do not hear it; all else goes through them."""

    def __init__(self, hears: type[Sound], beyond: FrameProcessor) -> None:
        super().__init__()
        self.hears = hears
        self.sound_to = beyond

    async def hear(self, frame: Sound) -> None:
        """Pass it on to the step that hears it."""
        await self.push_sound(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Everything passes."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
