"""Resample: converts the caller's audio to another rate, with 2 ms of delay."""

from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection

from processors.direct import DirectProcessor, Sound
from processors.polyphase import Polyphase
from processors.sound_frames import CallerSound


class Resample(DirectProcessor):
    """Converts `InputAudioRawFrame`s from `from_rate` to `to_rate` Hz, PCM16 mono."""

    hears = InputAudioRawFrame

    def __init__(self, from_rate: int, to_rate: int) -> None:
        super().__init__()
        self._to_rate = to_rate
        self._line = Polyphase(from_rate, to_rate)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass all other frames."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Resample the caller's audio."""
        pcm = self._line.convert(frame.audio)
        await self.push_sound(CallerSound(pcm, self._to_rate))
