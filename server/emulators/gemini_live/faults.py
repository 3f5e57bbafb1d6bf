"""What goes wrong while a client connects."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectFault:
    """Refuses some connects: by HTTP status, by a close before setupComplete, or by silence.

    `connects` counts from 1; None is every connect. Exactly one of `http_status`, `close` and
    `stall` is what happens.
    """

    http_status: int | None = None
    close: int | None = None
    reason: str = "The service is currently unavailable."
    stall: bool = False
    connects: frozenset[int] | None = None

    def __post_init__(self) -> None:
        ways = [self.http_status is not None, self.close is not None, self.stall]
        if sum(ways) != 1:
            raise ValueError("a connect is refused by one of http_status, close and stall")

    def concerns(self, connect: int) -> bool:
        """Whether it strikes the n-th connect."""
        return self.connects is None or connect in self.connects
