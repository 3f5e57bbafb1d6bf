"""Steps that break a call, each in one way: a replay has to catch them all.

`with_step` puts one into a definition, where somebody might have put it.
"""

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import replace

from pipecat.frames.frames import (
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    OutputAudioRawFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipelines.definition import PipelineDefinition, Role
from pipelines.steps import custom
from processors.frames import TurnFrame


class DropsEvery50thPacket(FrameProcessor):
    """Loses every 50th piece of the agent's sound."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass all but some."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            self._count += 1
            if self._count % 50 == 0:
                return
        await self.push_frame(frame, direction)


class AnswersLate(FrameProcessor):
    """Holds back the first sound of each reply for 400 ms, and with it all that follows."""

    def __init__(self, late_secs: float = 0.4) -> None:
        super().__init__()
        self._late_secs = late_secs
        self._begins = True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Wait before the first sound."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame) and self._begins:
            self._begins = False
            await asyncio.sleep(self._late_secs)
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._begins = True
        await self.push_frame(frame, direction)


class LosesLastWord(FrameProcessor):
    """Loses the last word of each piece of the agent's transcript."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass all words but the last."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            frame.text = frame.text.rstrip().rpartition(" ")[0]
        await self.push_frame(frame, direction)


class ChangesSound(FrameProcessor):
    """Changes the samples of the agent's sound by a function of them and of the piece's number."""

    def __init__(self, change: "Callable[[array[int], int], None]") -> None:
        super().__init__()
        self._change = change
        self._count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Change each piece."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            samples = array("h", frame.audio)
            self._change(samples, self._count)
            frame.audio = samples.tobytes()
            self._count += 1
        await self.push_frame(frame, direction)


def three_db_less(samples: "array[int]", _: int) -> None:
    """3 dB less."""
    for index, sample in enumerate(samples):
        samples[index] = round(sample * 0.708)


def click(samples: "array[int]", number: int) -> None:
    """One click, in the 20th piece."""
    if number == 20 and len(samples) > 12:
        samples[6:12] = array("h", [30_000, -30_000] * 3)


class DoublesAPacket(FrameProcessor):
    """Sends one piece of the agent's sound twice."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass each once, and one twice."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            self._count += 1
            if self._count == 30:
                await self.push_frame(frame, direction)
        await self.push_frame(frame, direction)


class InterruptsLate(FrameProcessor):
    """Passes an interruption on 200 ms late."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Wait with an interruption."""
        if isinstance(frame, InterruptionFrame):
            await asyncio.sleep(0.2)
        else:
            await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class LosesADigit(FrameProcessor):
    """Loses the second key that is pressed."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass all keys but one."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame):
            self._count += 1
            if self._count == 2:
                return
        await self.push_frame(frame, direction)


class TellsUnheardWords(FrameProcessor):
    """Puts words into the record that an interruption kept from being heard."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Add to turns that were cut."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TurnFrame) and frame.turn.interrupted:
            frame.turn = replace(frame.turn, text=f"{frame.turn.text} and much more")
        await self.push_frame(frame, direction)


def with_step(
    definition: PipelineDefinition,
    name: str,
    build: Callable[[], FrameProcessor],
    *,
    behind: Role = Role.MODEL,
) -> PipelineDefinition:
    """The definition with one more step, behind the first with this role."""
    steps = list(definition.steps)
    place = next(index for index, step in enumerate(steps) if step.role is behind) + 1
    steps.insert(place, custom(name, lambda _: build()))
    return PipelineDefinition(
        definition.name,
        steps=steps,
        tools=definition.tools,
        profile=definition.profile,
        description=definition.description,
    )
