"""StepTrace: what each step of a pipeline pushes on, as checksums by tenths of a second.

Two traces of the same cassette tell which step is the first to do something else: its input is the
same, and its output is not.

    transport_input ─▶ resample ─▶ keypad ─▶ gemini_live ─▶ my_step ─▶ transport_output
         same            same       same        same        differs       differs
"""

import copy
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipecat.frames.frames import (
    AudioRawFrame,
    BotSpeakingFrame,
    Frame,
    FunctionCallInProgressFrame,
    TextFrame,
    UserSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipelines.definition import CallParts, PipelineDefinition, Step
from processors.direct import DirectProcessor
from processors.frames import TurnFrame

WINDOW_MS = 100
# Pipecat makes these by a clock of its own.
_UNTOLD = (BotSpeakingFrame, UserSpeakingFrame)

Windows = dict[int, int]


@dataclass
class StepTrace:
    """By the name of each step, in order: window of the call → checksum of what was pushed."""

    steps: dict[str, Windows] = field(default_factory=dict)

    def note(self, step: str, at_secs: float, what: bytes) -> None:
        """A step pushed something."""
        windows = self.steps[step]
        window = int(at_secs * 1000) // WINDOW_MS
        windows[window] = zlib.crc32(what, windows.get(window, 0))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        plain = {
            name: [[window, crc] for window, crc in sorted(windows.items())]
            for name, windows in self.steps.items()
        }
        path.write_text(json.dumps(plain, separators=(",", ":")), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "StepTrace | None":
        """Read it; None when there is none, or what is there is none."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            steps = {
                name: {int(window): int(crc) for window, crc in rows}
                for name, rows in plain.items()
            }
            return cls(steps)
        except (OSError, ValueError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first step that does something else, and from when on (seconds of the cassette)."""

    step: str
    at: float
    # It was not in the pipeline before.
    is_new: bool = False


def first_to_differ(before: StepTrace, now: StepTrace) -> Culprit | None:
    """The step whose output differs first; None when all are the same.

    Of several at the same time it is one that was not there before, because a slow step holds up
    those that push to it; else the first in the pipeline. A new step should pass on what the step
    before it did.
    """
    found: list[tuple[int, bool, int, Culprit]] = []
    expected: Mapping[int, int] = {}
    for place, (step, windows) in enumerate(now.steps.items()):
        is_new = step not in before.steps
        expected = expected if is_new else before.steps[step]
        if (window := _first_window(expected, windows)) is not None:
            culprit = Culprit(step, window * WINDOW_MS / 1000, is_new)
            found.append((window, not is_new, place, culprit))
    return min(found, key=lambda each: each[:3])[3] if found else None


def _first_window(expected: Mapping[int, int], seen: Mapping[int, int]) -> int | None:
    different = (w for w in expected.keys() | seen.keys() if expected.get(w) != seen.get(w))
    return min(different, default=None)


def traced(
    definition: PipelineDefinition, trace: StepTrace, clock: Callable[[], float]
) -> PipelineDefinition:
    """The definition, with its steps noting what they push; `clock` in seconds of the cassette."""
    traced_definition = copy.copy(definition)
    traced_definition.steps = tuple(
        _traced_step(step, name, trace, clock) for step, name in _named(definition.steps)
    )
    return traced_definition


def _named(steps: Sequence[Step]) -> list[tuple[Step, str]]:
    """Steps with names of their own: a second one of a name is numbered."""
    names: list[str] = []
    for step in steps:
        again = sum(name.split(" #")[0] == step.name for name in names)
        names.append(f"{step.name} #{again + 1}" if again else step.name)
    return list(zip(steps, names, strict=True))


def _traced_step(step: Step, name: str, trace: StepTrace, clock: Callable[[], float]) -> Step:
    trace.steps[name] = {}

    def build(parts: CallParts) -> FrameProcessor:
        processor = step.build(parts)
        _listen_to(processor, lambda frame: _note(trace, name, clock(), frame))
        return processor

    return replace(step, build=build, fit=None)


def _listen_to(processor: FrameProcessor, note: Callable[[Frame], None]) -> None:
    push_frame = processor.push_frame

    async def push_frame_and_note(
        frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        if direction is FrameDirection.DOWNSTREAM:
            note(frame)
        await push_frame(frame, direction)

    processor.push_frame = push_frame_and_note  # type: ignore[method-assign]
    if isinstance(processor, DirectProcessor):
        push_sound = processor.push_sound

        async def push_sound_and_note(frame: Any) -> None:
            note(frame)
            await push_sound(frame)

        processor.push_sound = push_sound_and_note  # type: ignore[method-assign]


def _note(trace: StepTrace, step: str, at_secs: float, frame: Frame) -> None:
    if isinstance(frame, _UNTOLD):
        return
    trace.note(step, at_secs, _digest(frame))


def _digest(frame: Frame) -> bytes:
    if isinstance(frame, AudioRawFrame) or hasattr(frame, "audio"):
        return bytes(frame.audio)
    name = type(frame).__name__
    if isinstance(frame, TurnFrame):
        return f"{name} {frame.turn.who} {frame.turn.text} {frame.turn.interrupted}".encode()
    if isinstance(frame, TextFrame):
        return f"{name} {frame.text}".encode()
    if isinstance(frame, FunctionCallInProgressFrame):
        return f"{name} {frame.function_name} {frame.arguments}".encode()
    return name.encode()
