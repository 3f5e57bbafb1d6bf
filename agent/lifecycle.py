"""The life of a call as a pure function: `(state, event) -> (state, commands)`.

Standard library only, no clock and no I/O: time comes in with each event, and what shall happen
goes out as commands, which `local_life.py` (in this process) or a workflow carries out.
"""

from dataclasses import dataclass
from enum import StrEnum

RULES_VERSION = 1


# --- events: what happened -----------------------------------------------------------------
# `at` is seconds since the epoch. Any event may come late, twice, or never.


@dataclass(frozen=True, slots=True)
class Placed:
    """The API asked for an outbound call, or (`inbound`) Twilio told us of one."""

    at: float
    inbound: bool = False
    twilio_sid: str | None = None
    ring_timeout_secs: int = 60
    max_duration_secs: int = 1800


@dataclass(frozen=True, slots=True)
class Dialled:
    """Twilio took the call on."""

    at: float
    twilio_sid: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """Twilio refused the call; `message` is a sentence for whoever placed it."""

    at: float
    message: str


@dataclass(frozen=True, slots=True)
class DialUnclear:
    """It is not known whether Twilio took the call on."""

    at: float


@dataclass(frozen=True, slots=True)
class TwilioStatus:
    """A status callback or the answer to a look-up, in Twilio's words; None: no such call."""

    at: float
    status: str | None
    twilio_sid: str | None = None


@dataclass(frozen=True, slots=True)
class TwimlFetched:
    """Twilio asks what to do next with the call: at its answer, and after each stream."""

    at: float


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """A media stream was bound to the call's line on `instance`."""

    at: float
    stream_sid: str
    instance: str


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A media stream closed, for whatever reason; `carried_secs` is how long it lasted."""

    at: float
    stream_sid: str
    carried_secs: float


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """The media side is done: the agent hung up, time or patience ran out, no model came.

    `reason` is an EndReason's value. `transfer_to` hands the caller on instead of hanging up.
    """

    at: float
    reason: str
    transfer_to: str | None = None


@dataclass(frozen=True, slots=True)
class Terminate:
    """The API asked to end the call."""

    at: float


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that a `SetTimer` asked for has come."""

    at: float
    timer: "Timer"


Event = (
    Placed
    | Dialled
    | DialFailed
    | DialUnclear
    | TwilioStatus
    | TwimlFetched
    | StreamStarted
    | StreamEnded
    | ConversationEnded
    | Terminate
    | TimerFired
)


class Timer(StrEnum):
    """What a call may wait for."""

    RING = "ring"
    LIMIT = "limit"
    RECONCILE = "reconcile"
