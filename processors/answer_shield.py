"""AnswerShield: replaces the callee's first "Hello?" by noise, so that it cuts off no greeting.

The model gets noise as loud as the line's own instead, because a step from silence to noise could
sound like speech. The level is learnt from the first 200 ms, which are answered late, and falls
whenever a quieter packet comes; it rises slowly.

answer |---- shield ----|             greeting is over ⌄
caller    ▁hello?▁          short: kept, and passed on ▁hello?▁, or before what the caller says next
caller        ▁▁▁who is there, what do you want?▁      long: passed on when the shield ends
model  ..▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁|▁▁▁▁▁▁▁▁▁▁
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from math import inf

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from processors.comfort_noise import comfort_noise
from processors.direct import DirectProcessor, Sound
from processors.noise_floor import NoiseFloor, sound_level
from processors.sound_frames import CallerSound

# Speech under the shield that is longer than this is passed on when it ends.
MORE_THAN_HELLO_SECS = 1.0
# What is passed on begins and ends so much beside the speech, so that nothing is clipped.
LEAD_SECS = 0.5
TAIL_SECS = 0.5
# The longest shield: how much of the caller's audio is kept at most.
LONGEST_SECS = 30.0
# The line's noise is learnt for so long before the model gets any of it.
LEARNING_SECS = 0.2
# No line is noisier than this (-24 dBFS), whatever the first packets are.
LOUDEST_NOISE = 2_000.0
# Noise up to this level (-56 dBFS) may begin at once; above it, noise rises by 4 dB a second.
FAINT_NOISE = 50.0
RISE_PER_SEC = 1.58
# The greeting is over for so long before a word is passed on: the phone hears it a little later.
AFTER_GREETING_SECS = 0.3


class State(Enum):
    """What happens to the caller's audio."""

    SHIELDED = "replaced by noise"
    KEEPS_WORD = "passed; a short word waits for the end of the greeting"
    OPEN = "passed"


class AnswerShield(DirectProcessor):
    """Replaces speech by noise while `up()`, and passes it on afterwards.

    `stretches` returns when the caller spoke so far, in seconds of the call's clock; `speaking`
    whether they speak now; `loud` whether the current packet may be speech; `greeted` whether the
    greeting was heard, or comes no more.
    """

    hears = InputAudioRawFrame

    def __init__(
        self,
        up: Callable[[], bool],
        stretches: Callable[[], list[tuple[float, float]]],
        speaking: Callable[[], bool],
        loud: Callable[[], bool],
        greeted: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._up = up
        self._stretches = stretches
        self._speaking = speaking
        self._loud = loud
        self._greeted = greeted
        self._state = State.SHIELDED
        self._floor = NoiseFloor()
        self._noise_level: float | None = None
        # Samples of noise that the model has not got yet.
        self._owed = 0
        # (end of the packet, its frame), oldest first: under the shield all, then the word's.
        self._kept: deque[tuple[float, Sound]] = deque()
        # UserStartedSpeakingFrame was held back, and its end has not come.
        self._held_start = False
        self._greeted_at: float | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hold back User{Started,Stopped}SpeakingFrame while shielded; other frames pass."""
        await super().process_frame(frame, direction)
        signs = UserStartedSpeakingFrame | UserStoppedSpeakingFrame
        if direction is not FrameDirection.DOWNSTREAM or not isinstance(frame, signs):
            await self.push_frame(frame, direction)
            return
        starts = isinstance(frame, UserStartedSpeakingFrame)
        if self._state is State.SHIELDED or (self._held_start and not starts):
            self._held_start = starts
        elif self._state is State.KEEPS_WORD and starts:
            # The caller speaks again: the word comes first.
            await self._pass_on(ended=False)
        else:
            await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Replace the caller's audio by noise while `up()`."""
        if self._state is State.OPEN:
            pass
        elif self._state is State.KEEPS_WORD:
            if self._held_start and self._loud():
                # Loud again: the word was only the beginning.
                await self._pass_on(ended=False)
            elif self._long_greeted():
                await self._pass_on(ended=not self._held_start)
        elif self._up():
            await self._replace(frame)
            return
        else:
            await self._end_shield()
        await self.push_sound(frame)

    async def _replace(self, frame: Sound) -> None:
        now = self.get_event_loop().time()
        self._kept.append((now, frame))
        while self._kept[0][0] < now - LONGEST_SECS:
            self._kept.popleft()
        samples = len(frame.audio) // 2
        secs = samples / frame.sample_rate
        self._floor.hear(sound_level(frame.audio), secs * 1000)
        self._owed += samples
        if self._noise_level is not None or self._owed >= LEARNING_SECS * frame.sample_rate:
            self._follow_floor(secs)
            await self._push_noise(frame.sample_rate)

    def _follow_floor(self, secs: float) -> None:
        level, before = min(self._floor.level, LOUDEST_NOISE), self._noise_level
        if before is not None and level > before:
            level = min(level, max(FAINT_NOISE, before * RISE_PER_SEC**secs))
        self._noise_level = level

    async def _push_noise(self, rate: int) -> None:
        samples, self._owed = self._owed, 0
        await self.push_sound(CallerSound(comfort_noise(self._noise_level or 0.0, samples), rate))

    async def _end_shield(self) -> None:
        """Pass on speech that goes on or was more than a hello; a short word waits."""
        self._state = State.OPEN
        if not self._kept:
            return
        if self._owed:
            self._follow_floor(0.0)
            await self._push_noise(self._kept[-1][1].sample_rate)
        stretches = self._stretches()
        speaks = self._speaking()
        self._kept = deque(_near(self._kept, stretches, to_the_end=speaks))
        if not self._kept:
            return
        spoken = sum(end - start for start, end in stretches)
        if speaks or spoken >= MORE_THAN_HELLO_SECS:
            await self._pass_on(ended=not self._held_start)
        else:
            self._state = State.KEEPS_WORD

    def _long_greeted(self) -> bool:
        now = self.get_event_loop().time()
        if self._greeted_at is None and self._greeted():
            self._greeted_at = now
        return self._greeted_at is not None and now - self._greeted_at >= AFTER_GREETING_SECS

    async def _pass_on(self, *, ended: bool) -> None:
        """Push what was kept, as speech that has `ended` or that goes on."""
        kept, self._kept = self._kept, deque()
        self._state = State.OPEN
        self._held_start = False
        await self.push_frame(UserStartedSpeakingFrame())
        for _, frame in kept:
            await self.push_sound(frame)
        if ended:
            await self.push_frame(UserStoppedSpeakingFrame())


def _near(
    kept: deque[tuple[float, Sound]], stretches: list[tuple[float, float]], *, to_the_end: bool
) -> Iterator[tuple[float, Sound]]:
    """The packets in and beside the stretches of speech; `to_the_end`: the last one goes on."""
    spans = deque((start - LEAD_SECS, end + TAIL_SECS) for start, end in stretches)
    if to_the_end and spans:
        spans[-1] = spans[-1][0], inf
    for ended, frame in kept:
        while spans and ended > spans[0][1]:
            spans.popleft()
        if spans and ended > spans[0][0]:
            yield ended, frame
