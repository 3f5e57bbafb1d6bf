"""Lifecycle events (what happened to a call) and commands (what to do about it), as plain values.

`rules.py` turns events into commands. Standard library only, so that the values can also pass
through a workflow engine.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.lifecycle.statuses import EndReason


class Timer(StrEnum):
    """Kinds of timer; a call has at most one of each."""

    # The phone has been ringing for longer than Twilio's ring timeout.
    RING = "ring"
    # The call's maximum duration, plus a margin in which the agent says goodbye.
    LIMIT = "limit"
    # Time to ask Twilio for the call's status.
    RECONCILE = "reconcile"
    # The last sentence has been spoken, or the transfer has started.
    HANG_UP = "hang_up"


# --- events: what happened -----------------------------------------------------------------
# `at` is seconds since the epoch. Any event may come late, twice, or never.


@dataclass(frozen=True, slots=True)
class Placed:
    """The API asked for an outbound call, or (`inbound`) Twilio announced one."""

    at: float
    inbound: bool = False
    twilio_sid: str | None = None
    ring_timeout_secs: int = 60
    max_duration_secs: int = 1800


@dataclass(frozen=True, slots=True)
class Dialled:
    """Twilio accepted the call."""

    at: float
    twilio_sid: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """Twilio refused the call; `message` is a sentence for whoever placed it."""

    at: float
    message: str


@dataclass(frozen=True, slots=True)
class DialUnclear:
    """It is not known whether Twilio accepted the call."""

    at: float


@dataclass(frozen=True, slots=True)
class TwilioStatus:
    """A status callback or the answer to a look-up, in Twilio's words; None: no such call.

    `twilio_sid` is the call that Twilio spoke of or was asked about; None when the look-up was for
    a call whose SID is not known.
    """

    at: float
    status: str | None = None
    twilio_sid: str | None = None


@dataclass(frozen=True, slots=True)
class TwimlFetched:
    """Twilio asks what to do next with the call: at its answer, and after each stream."""

    at: float


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """A media stream was connected to the call's line on `instance`."""

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
    """The instance that carried the call has stopped; the call still goes on at Twilio.

    Twilio then asks another instance for TwiML; when none answers, Twilio ends the call.
    """

    at: float


@dataclass(frozen=True, slots=True)
class ConversationEnded:
    """The conversation is over: the agent hung up, time ran out, or the model failed.

    `reason` is an EndReason's value. `transfer_to` (E.164) connects the caller to that number
    instead of hanging up. `error`: what went wrong, in a sentence, for the record.
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
    """A timer set by `SetTimer` has expired."""

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


# --- commands: what to do --------------------------------------------------------------------
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
    """Start the call's pipeline before the phone is answered."""


@dataclass(frozen=True, slots=True)
class Release:
    """Stop what `Warm` started: nobody answered."""


@dataclass(frozen=True, slots=True)
class EndMedia:
    """Stop the pipeline and close the call's stream."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send `TimerFired(timer)` at `at`, seconds since the epoch; replaces an earlier setting."""

    timer: Timer
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Cancel the timer."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """Status or end reason have changed: report it."""


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
# By the kind that the record and workflows name them by.
EVENT_TYPES: dict[str, type] = {kind: event for event, kind in _KINDS.items()}
