"""Where a moment of a call stands on its timeline, in percent of the width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from server.replay.page.sound import secs_of
from server.replay.results import Replay

_STEPS_MS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000)
# How many labels stand along the axis: readable at 1000 px.
_MOST_LABELS = 14
_SHORTEST_SECS = 1.0
# Room at the right for what happens last.
_ROOM = 1.02


@dataclass(frozen=True, slots=True)
class Scale:
    """From `start` to `end`, in seconds from the answer."""

    start: float
    end: float

    @classmethod
    def of(cls, replay: Replay) -> Self:
        """All that is known of a call fits on it."""
        moments = [event.at for event in replay.timeline]
        ends = [stretch.end for stretch in replay.speech]
        start = min([0.0, *moments])
        end = max([_SHORTEST_SECS, replay.call_secs, secs_of(replay.sound), *ends, *moments])
        return cls(start, start + (end - start) * _ROOM)

    def at(self, secs: float) -> str:
        """Where a moment stands: "12.34%"."""
        share = (secs - self.start) / (self.end - self.start)
        return f"{100 * min(max(share, 0.0), 1.0):.3f}%"

    def place(self, start: float, end: float) -> str:
        """The style of what lasts from `start` to `end`."""
        width = max(0.0, min(end, self.end) - max(start, self.start)) / (self.end - self.start)
        return f"left:{self.at(start)};width:{100 * width:.3f}%"

    def ticks(self) -> Iterator[tuple[float, int]]:
        """The moments along the axis in seconds, each with its level.

        Level 0 is labelled on the whole timeline, 1 and 2 when the page is zoomed in.
        """
        start, end = round(self.start * 1000), round(self.end * 1000)
        fits = (step for step in _STEPS_MS if (end - start) / step <= _MOST_LABELS)
        steps = [next(fits, _STEPS_MS[-1])]
        for part in (2, 4):
            steps.append(_part_of(steps[-1], part))
        for ms in range(-(-start // steps[-1]) * steps[-1], end + 1, steps[-1]):
            yield ms / 1000, next(level for level, step in enumerate(steps) if ms % step == 0)


def _part_of(step: int, part: int) -> int:
    """The longest of the steps that divides one, and goes into it so many times or more."""
    fine = [it for it in _STEPS_MS if it * part <= step and step % it == 0]
    return fine[-1] if fine else step
