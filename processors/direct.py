"""DirectProcessor: base class of our steps. No queues or tasks; audio goes directly to its hearers.

Pipecat passes each frame through each processor, with hooks, observers and a log line at every hop.
That is fine for occasional frames; audio comes a hundred times a second. A step that hears one kind
of audio gets it by `hear`, directly from the step that produced it; `route_audio` sets the target.

    transport_input ──▶ keypad ──▶ loudness ──▶ remember_caller ──▶ model        all other frames
        └───────────────────────▲ └─────────────────────────────▲           the caller's audio
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


# Frames on which Pipecat's FrameProcessor acts itself.
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
    """A processor without queues or tasks: a frame is handled when `queue_frame` returns.

    Pipecat's hooks (`on_before_push_frame` and the like) and observers do not see its frames.
    """

    # The kind of audio frame that goes to `hear` instead of `process_frame`, if any.
    hears: type[Sound] | None = None

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        # Target of this step's audio; None: the next step, as for other frames.
        self.sound_to: FrameProcessor | None = None

    async def hear(self, frame: Sound) -> None:
        """Handle one audio frame of the kind `hears`."""
        raise TypeError(f"{self} hears nothing")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Let Pipecat handle frames such as StartFrame and CancelFrame; ignore others."""
        if isinstance(frame, _ITS_OWN):
            await super().process_frame(frame, direction)

    async def push_sound(self, frame: Sound) -> None:
        """Push an audio frame to the next step that hears it."""
        following = self.sound_to or self._next
        if following is not None and not self._cancelling:
            await following.queue_frame(frame, FrameDirection.DOWNSTREAM)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame to the next step, or to the previous one."""
        beside = self._next if direction is FrameDirection.DOWNSTREAM else self._prev
        if beside is not None:
            await beside.queue_frame(frame, direction)

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Handle a frame at once: audio by `hear`, all others by `process_frame`."""
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
    """Passes audio around the steps behind it that do not hear it; other frames go through them."""

    def __init__(self, hears: type[Sound], beyond: FrameProcessor) -> None:
        super().__init__()
        self.hears = hears
        self.sound_to = beyond

    async def hear(self, frame: Sound) -> None:
        """Push it to the step that hears it."""
        await self.push_sound(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
