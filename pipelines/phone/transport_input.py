"""TransportInput: the first step. Makes frames of the caller's audio and keys."""

from collections.abc import Callable

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    Frame,
    InputDTMFFrame,
    StartFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from pipelines.phone.caller_speech import CallerSpeech, Change
from pipelines.phone.packet_stamp import STAMPED_EVERY, stamped
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback
from pipelines.phone.twilio_serializer import mulaw_to_pcm
from pipelines.rates import PHONE_RATE, mulaw_ms
from processors.direct import DirectProcessor
from processors.frames import OF_THE_CONVERSATION
from processors.sound_frames import CallerSound


class TransportInput(DirectProcessor):
    """Pushes PCM16 at 8 kHz (`InputAudioRawFrame`), keys, and when the caller speaks."""

    def __init__(
        self,
        line: PhoneLine,
        speech: CallerSpeech,
        playback: Playback,
        stopwatch: Callable[[], float],
    ) -> None:
        super().__init__()
        self._stopwatch = stopwatch
        self._line = line
        self._speech = speech
        self._playback = playback
        self._packets = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Listen to the line once the pipeline has started; frames for other steps end here."""
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM or not isinstance(frame, OF_THE_CONVERSATION):
            await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._line.listen(self)

    async def media(self, payload: bytes) -> None:
        """One packet of mu-law at 8 kHz."""
        now = self.get_event_loop().time()
        self._packets += 1
        if self._packets % STAMPED_EVERY:
            await self._hear(payload, now)
        else:
            with stamped(self._stopwatch()):
                await self._hear(payload, now)

    async def key(self, digit: str) -> None:
        """A key of the telephone; A to D are ignored, because Pipecat has no such keys."""
        if digit not in "ABCD":
            await self.push_frame(InputDTMFFrame(button=KeypadEntry(digit)))

    async def mark(self, name: str) -> None:
        """Playback has reached a mark."""
        self._playback.marked(name)

    async def _hear(self, payload: bytes, now: float) -> None:
        pcm = mulaw_to_pcm(payload)
        change = self._speech.hear(pcm, now, mulaw_ms(len(payload)))
        if change is Change.STARTED:
            await self.push_frame(UserStartedSpeakingFrame())
        await self.push_sound(CallerSound(pcm, PHONE_RATE))
        if change is Change.STOPPED:
            await self.push_frame(UserStoppedSpeakingFrame())
