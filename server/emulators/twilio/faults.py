"""What can be made to go wrong: in the REST API, and with status callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Request = Literal["create", "fetch", "update", "list", "account", "numbers", "any"]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with one of Twilio's error bodies; `status` is HTTP's, else the code's usual one."""

    code: int
    message: str = "The request was refused"
    status: int | None = None
    on: Request = "create"


@dataclass(frozen=True, slots=True)
class ServerError:
    """Answer HTTP 500; with `placed`, after the request was carried out all the same."""

    status: int = 500
    placed: bool = False
    on: Request = "create"


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answer; with `placed`, after the request was carried out all the same."""

    placed: bool = False
    on: Request = "create"


@dataclass(frozen=True, slots=True)
class Slow:
    """Carry the request out and answer late."""

    secs: float
    on: Request = "create"


RestFault = Refuse | ServerError | Hang | Slow


@dataclass(frozen=True, slots=True)
class CallbackPlan:
    """How status callbacks travel: all on time and in order, unless told otherwise.

    `lose` names events ("initiated", "ringing", "answered", "completed", "stream-started", …)
    that never arrive. `delay_secs` holds all of them, or the events named, back: what comes
    later overtakes them. `twice` sends each of them again.
    """

    lose: frozenset[str] | set[str] = frozenset()
    delay_secs: float | Mapping[str, float] = field(default=0.0)
    twice: bool = False

    def delay_of(self, event: str) -> float:
        """How long this event is held back."""
        if isinstance(self.delay_secs, Mapping):
            return self.delay_secs.get(event, 0.0)
        return self.delay_secs
