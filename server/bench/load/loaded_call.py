"""One call of a load: what both vendors know of it together."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from server.bench.load.playout import Playout
from server.bench.load.sounds import PHONE_RATE
from server.bench.load.trail import Trail


@dataclass(slots=True)
class LoadedCall:
    """The call whose markers have this index; `up` is the way to the model, `down` to the phone."""

    index: int
    # Whom to dial: E.164.
    number: str
    # Its phone sends nothing.
    quiet: bool = False
    up: Trail = field(init=False)
    down: Trail = field(init=False)
    playout: Playout = field(default_factory=Playout)
    # When its stream began.
    started_at: float | None = None
    # Something of the server's sound is at the phone.
    sounds: asyncio.Event = field(default_factory=asyncio.Event)
    # Sessions of the model that heard it: one, unless one was lost.
    sessions: int = 0
    # What the call's phone or session ran into.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.up = Trail(self.index, PHONE_RATE)
        self.down = Trail(self.index, PHONE_RATE)

    @property
    def talked_secs(self) -> float:
        """Since its stream began; 0 before."""
        return 0.0 if self.started_at is None else monotonic() - self.started_at

    @property
    def talks(self) -> bool:
        """Whether both sides have heard each other."""
        return bool(self.up.arrivals and self.down.arrivals)
