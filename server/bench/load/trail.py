"""The markers of one direction of one call: which were sent, which came, and what that says. Pure.

sent    1 . . . . 2 . . . . 3 . . . . 4
heard      1 . . . . 2 . . .          4      3 is lost; 4 is 500 ms early: so much is missing
           |latency
"""

from collections import deque
from dataclasses import dataclass, field

from server.bench.load.markers import Heard

# Onsets are found to a fraction of a millisecond.
LOST_AT_LEAST_MS = 1.5
# What a filter holds is flushed at a reply's end, and may fill up a packet with silence.
ADDED_AT_LEAST_MS = 25.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A marker on its way; `position_ms` in all that was sent of this direction."""

    sequence: int
    at: float
    position_ms: float
    begins_reply: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """A marker that came; its latency is that of the packet or chunk which begins with it.

    `missing_ms` of what was sent since the marker before it never came; below zero: came twice.
    """

    sent: Sent
    latency_ms: float
    missing_ms: float


@dataclass(slots=True)
class Trail:
    """`rate` in Hz is that of the ear; `at` of everything in seconds of one clock."""

    call: int
    rate: int
    arrivals: list[Arrival] = field(default_factory=list)
    lost: list[Sent] = field(default_factory=list)
    # When a marker came that is another call's, was garbled, or had come already.
    strange: list[float] = field(default_factory=list)
    _waiting: deque[Sent] = field(default_factory=deque)
    _last: tuple[Sent, int] | None = None

    def send(self, sent: Sent) -> None:
        """A marker leaves."""
        self._waiting.append(sent)

    def hear(self, heard: Heard) -> Sent | None:
        """A marker comes; which one, if it is one of this call's."""
        marker = heard.marker
        if (
            marker is None
            or marker.call != self.call
            or all(sent.sequence != marker.sequence for sent in self._waiting)
        ):
            self.strange.append(heard.at)
            return None
        sent = self._waiting.popleft()
        while sent.sequence != marker.sequence:
            self.lost.append(sent)
            sent = self._waiting.popleft()
        missing_ms = 0.0
        if self._last is not None:
            before, onset = self._last
            came_ms = (heard.onset - onset) * 1000 / self.rate
            missing_ms = sent.position_ms - before.position_ms - came_ms
        if -ADDED_AT_LEAST_MS < missing_ms < LOST_AT_LEAST_MS:
            missing_ms = 0.0
        self._last = sent, heard.onset
        self.arrivals.append(Arrival(sent, (heard.at - sent.at) * 1000, missing_ms))
        return sent

    def waiting(self) -> list[Sent]:
        """What has not come yet."""
        return list(self._waiting)
