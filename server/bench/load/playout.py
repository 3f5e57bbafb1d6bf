"""What a telephone without a buffer hears: when its queue runs dry, and whether it should. Pure.

    chunk 1 ▷|=======|
    chunk 2      ▷   |=======|
    chunk 3                  |..▷|=======|         dry inside a reply: a gap
    next reply                           |....▷|   dry between two replies: none

Which dry spell is which is known at the next marker: the last one just before a marker that begins
a reply is the pause before it, every other one is a gap.
"""

from dataclasses import dataclass

RATE = 8_000  # Hz
# Dry for less than this is not heard, and not told apart from the clock's own grain.
GAP_AT_LEAST_MS = 2.0
# How far behind a pause its reply's first marker may be: a resampler may give silence first.
BEGINS_WITHIN = RATE // 5  # samples


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a reply: when it ended, and for how long nothing was heard."""

    at: float
    ms: float


class Playout:
    """All times in seconds of one clock, all positions in samples at 8 kHz."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        # When the last of what has come will have been heard.
        self.ends_at = 0.0
        self.samples = 0
        self._dry: list[tuple[int, Gap]] = []

    def hear(self, samples: int, at: float) -> None:
        """So many samples come at this moment."""
        dry_ms = (at - self.ends_at) * 1000
        if dry_ms > 0:
            if dry_ms >= GAP_AT_LEAST_MS and self.samples:
                self._dry.append((self.samples, Gap(at, dry_ms)))
            self.ends_at = at
        self.ends_at += samples / RATE
        self.samples += samples

    def marker(self, onset: int, *, begins_reply: bool) -> None:
        """A marker was found at a position."""
        before = [one for one in self._dry if one[0] <= onset]
        self._dry = self._dry[len(before) :]
        if begins_reply and before and onset - before[-1][0] <= BEGINS_WITHIN:
            before.pop()
        self.gaps += [gap for _, gap in before]

    def clear(self, at: float) -> None:
        """What was not heard yet is thrown away."""
        self.ends_at = min(self.ends_at, at)
