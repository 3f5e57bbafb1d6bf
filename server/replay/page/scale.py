"""Where a moment of a call stands on its timeline, in percent of the width."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from server.replay.page.sound import secs_of
from server.replay.results import Replay

_STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
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

    def ticks(self) -> Iterator[tuple[float, bool]]:
        """The moments along the axis, and whether each is labelled on the whole timeline.

        The others are labelled when the page is zoomed in.
        """
        length = self.end - self.start
        number = next((i for i, step in enumerate(_STEPS) if length / step <= _MOST_LABELS), -1)
        step = _STEPS[number]
        fine = step / 5 if step in (5, 10) else step / 2
        count = int(self.start / fine)
        while count * fine <= self.end:
            secs = count * fine
            yield secs, abs(secs / step - round(secs / step)) < 1e-6
            count += 1
