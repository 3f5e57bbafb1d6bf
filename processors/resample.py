"""The caller's audio at another rate, with 2 ms of delay and nothing held back."""

from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from processors.polyphase import Polyphase


class Resample(FrameProcessor):
    """Turns `InputAudioRawFrame`s of `from_rate` into ones of `to_rate` Hz, PCM16 mono."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        super().__init__(enable_direct_mode=True)
        self._to_rate = to_rate
        self._line = Polyphase(from_rate, to_rate)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Resample the caller's audio; pass everything else."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = InputAudioRawFrame(self._line.convert(frame.audio), self._to_rate, 1)
        await self.push_frame(frame, direction)
