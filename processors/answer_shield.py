"""AnswerShield: replaces the callee's first "Hello?" by noise, so that it cuts off no greeting.

The model gets the line's own noise instead: a step from silence to noise could sound like speech.

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

# Speech under the shield that is longer than this is passed on afterwards.
MORE_THAN_HELLO_SECS = 0.7
# What is passed on begins this much before the speech, so that nothing is clipped.
LEAD_SECS = 0.2
# The longest shield: how much of the caller's audio is kept at most.
LONGEST_SECS = 30.0
# Packets before and after loud ones that count as the soft beginning and end of speech.
BEFORE_SPEECH_PACKETS = 3
AFTER_SPEECH_PACKETS = 15
DIGITAL_SILENCE = 8


class AnswerShield(DirectProcessor):
    """Replaces speech by noise while `up()`, and passes longer speech on afterwards.

    `stretches` returns when the caller spoke so far, in seconds of the call's clock; `speaking`
    whether they speak now; `loud` whether the current packet may be speech.
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
        # The quietest noise packet so far, and packets that may be noise.
        self._noise = b""
        self._noise_level = 0
        self._maybe_noise: deque[bytes] = deque()
        self._since_loud = AFTER_SPEECH_PACKETS
        # (end of the packet, its frame), oldest first, while the shield is up.
        self._kept: deque[tuple[float, Sound]] = deque()
        self._over = False
        # UserStartedSpeakingFrame was held back.
        self._held_start = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hold back User{Started,Stopped}SpeakingFrame while shielded; other frames pass."""
        await super().process_frame(frame, direction)
        signs = UserStartedSpeakingFrame | UserStoppedSpeakingFrame
        shielded = not self._over or self._held_start
        if shielded and direction is FrameDirection.DOWNSTREAM and isinstance(frame, signs):
            self._held_start = isinstance(frame, UserStartedSpeakingFrame)
            return
        await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Replace the caller's audio by noise while `up()`."""
        if self._over:
            # Loud again: the held-back hello was only the beginning.
            if self._held_start and self._loud():
                await self._push_started()
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
        await self._pass_on_speech()
        await self.push_sound(frame)

    def _learn_noise(self, pcm: bytes) -> None:
        if self._loud():
            self._maybe_noise.clear()
            self._since_loud = 0
            return
        self._since_loud += 1
        if self._since_loud <= AFTER_SPEECH_PACKETS:
            return
        self._maybe_noise.append(pcm)
        if len(self._maybe_noise) <= BEFORE_SPEECH_PACKETS:
            return
        noise = self._maybe_noise.popleft()
        level = audioop.rms(noise, 2)
        # Digital silence says nothing about the line's noise.
        if level >= DIGITAL_SILENCE and (not self._noise or level < self._noise_level):
            self._noise, self._noise_level = noise, level

    async def _pass_on_speech(self) -> None:
        """Pass on the speech under the shield, if it goes on or was more than a hello."""
        kept, self._kept = self._kept, deque()
        stretches = self._stretches()
        if not kept or not stretches:
            return
        spoken = sum(end - start for start, end in stretches)
        if spoken < MORE_THAN_HELLO_SECS and not self._speaking():
            return
        goes_on = self._held_start
        self._held_start = True
        await self._push_started()
        since = stretches[0][0] - LEAD_SECS
        for ended, frame in kept:
            if ended > since:
                await self.push_sound(frame)
        if not goes_on:
            await self.push_frame(UserStoppedSpeakingFrame())

    async def _push_started(self) -> None:
        if self._held_start:
            self._held_start = False
            await self.push_frame(UserStartedSpeakingFrame())
