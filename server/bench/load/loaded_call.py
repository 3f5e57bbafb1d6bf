"""One call of a load: what both vendors know of it together."""

from dataclasses import dataclass, field

from pipelines.rates import PHONE_RATE
from server.bench.load.playout import Playout
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
    # Sessions of the model that heard it: one, unless one was lost.
    sessions: int = 0
    # What the call's phone or session ran into.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.up = Trail(self.index, PHONE_RATE)
        self.down = Trail(self.index, PHONE_RATE)

    @property
    def talks(self) -> bool:
        """Whether both sides have heard each other."""
        return bool(self.up.arrivals and self.down.arrivals)

    @property
    def is_heard(self) -> bool:
        """Whether something of the server's sound is at the phone."""
        return self.playout.samples > 0
