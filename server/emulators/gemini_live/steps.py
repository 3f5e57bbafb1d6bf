"""What a scripted model does, step by step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Expand = Callable[[str], str]

USUAL_RATE = 24_000  # Hz
HALF_A_MESSAGE = '{"serverContent": {"modelTurn": '


@dataclass(frozen=True, slots=True)
class Say:
    """Speak. `cut_after_secs` stops generating after so much audio, as a failing model does.

    The speech is made at `rate` Hz. `mime_type` is what it is said to be, instead of PCM of that
    rate.
    What is `quoted` is the client's text, in the client's language; the rest is the script's.
    """

    text: str
    cut_after_secs: float | None = None
    quoted: bool = False
    rate: int = USUAL_RATE
    mime_type: str | None = None

    def expanded(self, expand: Expand) -> "Say":
        """With its place-holders filled in."""
        return replace(self, text=expand(self.text))


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One function that the model calls. An optional one is left out when it is not declared."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """Call functions, all in one message."""

    functions: tuple[FunctionCall, ...]

    def expanded(self, expand: Expand) -> "Call":
        """With the place-holders in its arguments filled in."""
        return Call(
            tuple(
                replace(function, args=_filled(function.args, expand))
                for function in self.functions
            )
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Think on."""

    secs: float


@dataclass(frozen=True, slots=True)
class GoAway:
    """Announce the end of the connection, then end it."""

    time_left_secs: float


INTERNAL_ERROR = "Internal error encountered."


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection; without a code, tear it down as a dead network does."""

    code: int | None = 1011
    reason: str = INTERNAL_ERROR


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing more on this connection, and keep it open."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send these characters as they are."""

    text: str = HALF_A_MESSAGE
    text_frame: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send any JSON value, whether the API knows such a message or not."""

    message: Any
    text_frame: bool = False


Step = Say | Call | Pause | GoAway | Drop | Stall | Garbage | Send


def expanded(steps: tuple[Step, ...], expand: Expand) -> tuple[Step, ...]:
    """The steps with their place-holders filled in."""
    return tuple(step.expanded(expand) if isinstance(step, Say | Call) else step for step in steps)


def _filled(value: Any, expand: Expand) -> Any:
    if isinstance(value, str):
        return expand(value)
    if isinstance(value, Mapping):
        return {key: _filled(entry, expand) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, expand) for entry in value]
    return value
