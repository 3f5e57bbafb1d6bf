"""Departure: when a connection that has to go is left for the next one.

    goAway ──▶ a quiet moment ──▶ OPEN the successor ──▶ still quiet ──▶ SWITCH      nothing is lost
                     ▲                    └─ somebody spoke: DISCARD it, its handle is old
                     └─────────────────────────┘
    deadline ─ 2.5 s ──▶ OPEN, quiet or not ──▶ deadline ─ 0.5 s ──▶ SWITCH, as after a break
    no successor (a resume is refused while the old one is open) ──▶ LEAVE, then connect

The deadline is a clock of our own: after its goAway the server may fall silent.
"""

from enum import Enum, auto

# The successor is opened so long before the end, quiet or not.
FORCED_BEFORE_SECS = 2.5
# A reply that goes on is left so long before the end.
SWITCHED_BEFORE_SECS = 0.5
LEFT_BEFORE_SECS = 0.2


class Successor(Enum):
    """How far the next connection is."""

    NONE = auto()
    OPENING = auto()
    OPEN = auto()
    REFUSED = auto()


class Step(Enum):
    """What to do now."""

    WAIT = auto()
    OPEN = auto()
    DISCARD = auto()
    SWITCH = auto()
    LEAVE = auto()


class Departure:
    """Decides for one connection. Times are seconds on the call's clock."""

    def __init__(self, deadline: float | None) -> None:
        """`deadline` None: it should go, and nobody says when it must."""
        self._deadline = deadline

    def step(self, now: float, *, quiet: bool, successor: Successor) -> Step:
        """`quiet`: nobody speaks, nothing is owed, and a handle covers all that was said."""
        left = float("inf") if self._deadline is None else self._deadline - now
        forced = left <= FORCED_BEFORE_SECS
        if successor is Successor.OPEN and (quiet or left <= SWITCHED_BEFORE_SECS):
            return Step.SWITCH
        if left <= LEFT_BEFORE_SECS:
            return Step.LEAVE
        if successor is Successor.NONE:
            return Step.OPEN if quiet or forced else Step.WAIT
        if successor is Successor.REFUSED:
            return Step.LEAVE if quiet else Step.WAIT
        return Step.WAIT if quiet or forced else Step.DISCARD
