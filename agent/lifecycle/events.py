"""What can happen to a call, and what shall be done about it, as plain values.

`lifecycle.py` turns the one into the other. Standard library only, so that these values can go
through a workflow as well as through this process.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.lifecycle.statuses import EndReason


class Timer(StrEnum):
    """What a call may wait for; each is armed at most once at a time."""

    # The phone has been ringing for longer than Twilio should let it.
    RING = "ring"
    # The longest that the call may last, behind the media side's own polite end.
    LIMIT = "limit"
    # Time to ask Twilio what has become of the call.
    RECONCILE = "reconcile"
    # The caller had the time to hear the last sentence, or to be handed on.
    HANG_UP = "hang_up"


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
    """A status callback or the answer to a look-up, in Twilio's words; None: no such call.

    `twilio_sid` is the call that Twilio spoke of or was asked about; None when the look-up was for
    a call whose SID is not known.
    """

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
class InstanceStopped:
    """The instance that carried the call has stopped, with the call still going on at Twilio.

    Twilio asks what to do next; when nobody answers it either, the call is over.
    """

    at: float


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """The media side is done: the agent hung up, time or patience ran out, no model came.

    `reason` is an EndReason's value. `transfer_to` hands the caller on instead of hanging up.
    `error`: what went wrong, in a sentence; for the record.
    """

    at: float
    reason: str
    transfer_to: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Terminate:
    """The API asked to end the call."""

    at: float


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that a `SetTimer` asked for has come."""

    at: float
    timer: Timer


Event = (
    Placed
    | Dialled
    | DialFailed
    | DialUnclear
    | TwilioStatus
    | TwimlFetched
    | StreamStarted
    | StreamEnded
    | InstanceStopped
    | ConversationEnded
    | Terminate
    | TimerFired
)


# --- commands: what shall be done ------------------------------------------------------------
# Each is safe to repeat, except `Dial`, which is given once in the life of a call.


@dataclass(frozen=True, slots=True)
class Dial:
    """Place the call. The answer is `Dialled`, `DialFailed` or `DialUnclear`."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call at Twilio."""

    twilio_sid: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask Twilio about the call; without a SID, for the one that `Dial` may have placed.

    The answer is a `TwilioStatus` with the same SID, or the one that was found.
    """

    twilio_sid: str | None


@dataclass(frozen=True, slots=True)
class Warm:
    """Prepare to talk, before the phone is answered."""


@dataclass(frozen=True, slots=True)
class Release:
    """Give back what `Warm` prepared: nobody answered."""


@dataclass(frozen=True, slots=True)
class EndMedia:
    """Stop talking and close the call's stream."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send `TimerFired(timer)` at `at`, seconds since the epoch; replaces an earlier setting."""

    timer: Timer
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """Status or end reason have changed: make it known."""


Command = Dial | HangUp | LookUp | Warm | Release | EndMedia | SetTimer | CancelTimer | WriteOutcome


# --- events as the record keeps them ---------------------------------------------------------


def as_record(event: Event) -> tuple[str, dict[str, Any]]:
    """The kind and the detail of the `CallEvent` that keeps this event."""
    # Every value is one of JSON's own, so that nothing needs to be copied as `asdict` does.
    detail = {name: getattr(event, name) for name in event.__slots__ if name != "at"}
    return _KINDS[type(event)], {name: v for name, v in detail.items() if v is not None}


_KINDS: dict[type, str] = {
    Placed: "life.placed",
    Dialled: "life.dialled",
    DialFailed: "life.dial_failed",
    DialUnclear: "life.dial_unclear",
    TwilioStatus: "twilio.status",
    TwimlFetched: "twilio.twiml",
    StreamStarted: "life.stream_started",
    StreamEnded: "life.stream_ended",
    InstanceStopped: "life.instance_stopped",
    ConversationEnded: "life.conversation_ended",
    Terminate: "life.terminate",
    TimerFired: "life.timer",
}
