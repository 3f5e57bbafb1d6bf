"""Continuity: which connection is the session, when a call has more than one.

At most two are open: the one that serves, and one beside it.

    serving  ═══════╗                     ════════════╗
    beside          ╚═▶ successor            hedge    ╚═▶ whichever speaks first serves
             goAway, a known limit,       no answer        the other one is never heard
             another prompt or voice

    opened ─▶ BESIDE ─┬─ takes over ─▶ SERVING ─▶ LEFT
                      └─ not needed ─────────────▶ LEFT      a connection that is left stays so
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

Leg = TypeVar("Leg")


class Purpose(Enum):
    """Why a second connection is open."""

    # It takes over between two turns.
    SUCCESSOR = "successor"
    # It takes over when it speaks first.
    HEDGE = "hedge"


class Verdict(Enum):
    """What becomes of something that a connection says."""

    HEARD = auto()
    # The connection takes over, and then it is heard.
    TAKES_OVER = auto()
    NOT_HEARD = auto()


@dataclass
class Continuity(Generic[Leg]):
    """The roles of a call's connections; values in, values out."""

    serving: Leg | None = None
    beside: Leg | None = None
    purpose: Purpose | None = None
    # How often another connection took over while one served.
    switches: int = field(default=0)

    def serve(self, leg: Leg) -> None:
        """A connection serves where none did."""
        if self.serving is not None:
            raise RuntimeError("a connection serves already")
        self.serving = leg

    def stand_by(self, leg: Leg, purpose: Purpose) -> None:
        """A connection is open beside the one that serves."""
        if self.beside is not None:
            raise RuntimeError("a connection stands by already")
        self.beside, self.purpose = leg, purpose

    def speaks(self, leg: Leg) -> Verdict:
        """A connection speaks, calls a tool, or transcribes the agent."""
        if leg is self.serving:
            return Verdict.HEARD
        if leg is self.beside and self.purpose is Purpose.HEDGE:
            return Verdict.TAKES_OVER
        return Verdict.NOT_HEARD

    def take_over(self) -> Leg | None:
        """The connection beside serves from now on; returns the one to be closed."""
        if self.beside is None:
            raise RuntimeError("no connection stands by")
        old, self.serving = self.serving, self.beside
        self.beside = self.purpose = None
        self.switches += old is not None
        return old

    def dismiss(self) -> Leg | None:
        """The connection beside is not needed; returns it, to be closed."""
        dismissed, self.beside, self.purpose = self.beside, None, None
        return dismissed

    def lost(self, leg: Leg) -> None:
        """A connection is gone, or is left."""
        if leg is self.serving:
            self.serving = None
        elif leg is self.beside:
            self.dismiss()
