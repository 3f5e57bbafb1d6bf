"""Keeps the callee's "Hello?" from cutting the greeting: at first, the model hears no speech.

It hears the line instead, noise and all: from silence to noise would sound like speech, too.

answer |---- shield ----|
caller    ▁hello?▁          short: the model never hears it
caller        ▁▁▁who is there, what do you want?▁   long: sent when the shield ends, then live
model  ................|▁▁▁▁▁▁▁▁▁▁
"""

import audioop
from collections import deque
from collections.abc import Callable

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from processors.direct import DirectProcessor, Sound
from processors.sound_frames import CallerSound

# Speech under the shield that is longer than this is more than a hello.
MORE_THAN_HELLO_SECS = 0.7
# What is sent afterwards begins this much before the speech, so that no sound of it is clipped.
LEAD_SECS = 0.2
# Longer than any shield: what is kept of the caller's sound at the most.
LONGEST_SECS = 30.0
# So many packets before loud ones are taken for the soft beginning of speech, and so many behind
# them for its end.
BEFORE_SPEECH_PACKETS = 3
BEHIND_SPEECH_PACKETS = 15
DIGITAL_SILENCE = 8


class AnswerShield(DirectProcessor):
    """Takes speech out of the caller's sound while `up()`, and sends real speech on afterwards.

    `stretches` gives when the caller was heard so far, in seconds of the call's clock; `speaking`
    whether they speak this moment; `loud` whether the packet that comes now may be speech.
    """

    hears = InputAudioRawFrame

    def __init__(
        self,
        up: Callable[[], bool],
        stretches: Callable[[], list[tuple[float, float]]],
        speaking: Callable[[], bool],
        loud: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._up = up
        self._stretches = stretches
        self._speaking = speaking
        self._loud = loud
        # The quietest packet of the line's own noise so far, and packets that may be noise, too.
        self._noise = b""
        self._noise_level = 0
        self._maybe_noise: deque[bytes] = deque()
        self._since_loud = BEHIND_SPEECH_PACKETS
        # (end of the packet, its frame), oldest first, while the shield is up.
        self._kept: deque[tuple[float, Sound]] = deque()
        self._over = False
        # They began to speak, and nobody was told.
        self._held_start = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Shield the signs of the caller's speech; everything but their sound passes."""
        await super().process_frame(frame, direction)
        signs = UserStartedSpeakingFrame | UserStoppedSpeakingFrame
        shielded = not self._over or self._held_start
        if shielded and direction is FrameDirection.DOWNSTREAM and isinstance(frame, signs):
            self._held_start = isinstance(frame, UserStartedSpeakingFrame)
            return
        await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Shield the caller's sound while `up()`."""
        if self._over:
            # A hello that was kept back was only the beginning, when it is loud again.
            if self._held_start and self._loud():
                await self._tell_of_speech()
            await self.push_sound(frame)
            return
        now = self.get_event_loop().time()
        if self._up():
            self._kept.append((now, frame))
            while self._kept[0][0] < now - LONGEST_SECS:
                self._kept.popleft()
            self._learn_noise(frame.audio)
            noise = self._noise[: len(frame.audio)].ljust(len(frame.audio), b"\x00")
            await self.push_sound(CallerSound(noise, frame.sample_rate))
            return
        self._over = True
        await self._send_what_mattered()
        await self.push_sound(frame)

    def _learn_noise(self, pcm: bytes) -> None:
        if self._loud():
            self._maybe_noise.clear()
            self._since_loud = 0
            return
        self._since_loud += 1
        if self._since_loud <= BEHIND_SPEECH_PACKETS:
            return
        self._maybe_noise.append(pcm)
        if len(self._maybe_noise) <= BEFORE_SPEECH_PACKETS:
            return
        noise = self._maybe_noise.popleft()
        level = audioop.rms(noise, 2)
        # A digital silence says nothing of the noise that may begin.
        if level >= DIGITAL_SILENCE and (not self._noise or level < self._noise_level):
            self._noise, self._noise_level = noise, level

    async def _send_what_mattered(self) -> None:
        """What was said under the shield, if it goes on or was more than a hello."""
        kept, self._kept = self._kept, deque()
        stretches = self._stretches()
        if not kept or not stretches:
            return
        spoken = sum(end - start for start, end in stretches)
        if spoken < MORE_THAN_HELLO_SECS and not self._speaking():
            return
        goes_on = self._held_start
        self._held_start = True
        await self._tell_of_speech()
        since = stretches[0][0] - LEAD_SECS
        for ended, frame in kept:
            if ended > since:
                await self.push_sound(frame)
        if not goes_on:
            await self.push_frame(UserStoppedSpeakingFrame())

    async def _tell_of_speech(self) -> None:
        if self._held_start:
            self._held_start = False
            await self.push_frame(UserStartedSpeakingFrame())
