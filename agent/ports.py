"""Ports: the interfaces between the lifecycle, the telephone network, the media side and tools.

`server` implements them with Twilio's SDK and the running pipelines, tests with scripted parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.clock import Clock
from agent.lifecycle.events import Event, Placed
from agent.lifecycle.state import CallState
from agent.record.models import Call, EndReason, Speaker


@dataclass(frozen=True, slots=True)
class DialRequest:
    """One call to place. `to` and `from_` are E.164; `placed_at`: seconds since the epoch."""

    call_id: str
    to: str
    from_: str
    ring_timeout_secs: int
    placed_at: float


class DialRefused(Exception):
    """Twilio refused to place the call: no phone rings."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class DialUncertain(Exception):
    """No clear answer came: the call may have been placed. Look it up, never retry."""


@dataclass(frozen=True, slots=True)
class TelephoneCall:
    """What Twilio's REST API says of a call; `status` in Twilio's own words ("in-progress")."""

    twilio_sid: str
    status: str


class Telephone(Protocol):
    """The telephone network, as the lifecycle uses it. No method blocks the event loop."""

    async def dial(self, request: DialRequest) -> str:
        """Place the call once and return Twilio's call SID.

        Raises: DialRefused, DialUncertain.
        """
        ...

    async def hang_up(self, twilio_sid: str) -> None:
        """End the call whatever its status. Does nothing when it has ended already."""
        ...

    async def redirect(self, twilio_sid: str, call_id: str) -> bool:
        """Have Twilio leave what the call does, and fetch its TwiML again.

        False, and nothing is done, when the call is not in progress there.
        """
        ...

    async def look_up(self, twilio_sid: str) -> TelephoneCall | None:
        """The call's status at Twilio; None when Twilio knows no such call."""
        ...

    async def find(self, request: DialRequest) -> TelephoneCall | None:
        """The call that an uncertain `dial` may have placed; None when there is none."""
        ...


class CallMedia(Protocol):
    """The side that carries audio: pipelines and streams. Each method is safe to repeat."""

    async def warm(self, call_id: str) -> None:
        """Start the call's pipeline while the phone rings."""
        ...

    async def release(self, call_id: str) -> None:
        """Stop what `warm` started: nobody answered."""
        ...

    async def end(self, call_id: str, reason: EndReason) -> None:
        """Stop the pipeline: the call is over or must end now."""
        ...


class LifecycleUnavailable(Exception):
    """No call can be placed now; nothing of this one was."""


class CallLifecycle(Protocol):
    """Runs the lifecycle of every call: in this process (`LocalRunner`) or in workflows."""

    # Seconds since the epoch.
    now: Clock

    async def place(self, call: Call, event: Placed) -> Call:
        """Create the record and dial (outbound); return the call as it is after Twilio's answer.

        Waits at most 15 s for that answer. When the idempotency key was used before, the call that
        it created is returned and nothing is dialled.

        Raises: agent.record.call_log.IdempotencyConflict when the key came with another request;
        LifecycleUnavailable.
        """
        ...

    async def tell(self, call_id: str, *events: Event) -> CallState:
        """Apply events to a call in one transaction; return its state after them.

        Never waits for Twilio.

        Raises: agent.record.call_log.NoSuchCall.
        """
        ...

    async def tell_or_assume(self, call_id: str, *events: Event) -> CallState:
        """As `tell`; what cannot be stored now is stored later, and the state is assumed.

        Raises: agent.record.call_log.NoSuchCall; DatabaseUnavailable for a call that is not known
        to this process.
        """
        ...

    def tell_later(self, call_id: str, event: Event) -> None:
        """Apply an event in the background, as `tell_until_kept` does."""
        ...

    async def tell_until_kept(self, call_id: str, event: Event) -> None:
        """Apply an event that nobody else reports, retrying while the database is unavailable.

        Events of one call keep their order. Returns when the event was applied, or when the call
        no longer exists.
        """
        ...

    async def record(self, call_id: str) -> Call:
        """The record of a call.

        Raises: agent.record.call_log.NoSuchCall.
        """
        ...

    async def record_or_known(self, call_id: str) -> Call:
        """The record of a call; without the database, as this process knows it.

        Raises: agent.record.call_log.NoSuchCall; DatabaseUnavailable for a call that is not known
        to this process.
        """
        ...

    async def state(self, call_id: str) -> CallState:
        """The state of a call. Raises: agent.record.call_log.NoSuchCall."""
        ...

    async def ended(self, call_id: str, timeout: float) -> Call | None:
        """Wait for the end of a call; None when it still goes on after `timeout` seconds.

        Raises: agent.record.call_log.NoSuchCall.
        """
        ...

    async def resume(self) -> None:
        """Take up the calls that an earlier process has left."""
        ...

    async def close(self) -> None:
        """Stop; the calls themselves go on."""
        ...


class TransferRefused(Exception):
    """The caller may not be connected to this number."""


class LiveCall(Protocol):
    """The call a tool runs in, and what the tool may do to it."""

    @property
    def call_id(self) -> str:
        """The id of the call, as in the API."""
        ...

    @property
    def phone_number(self) -> str:
        """The person's number, E.164."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The `metadata` of `POST /calls`."""
        ...

    async def hang_up(self) -> None:
        """End the call once the agent's last words were heard."""
        ...

    async def say(self, text: str) -> None:
        """Have the agent say this to the caller, word for word."""
        ...

    async def transfer(self, phone_number: str) -> None:
        """Once the agent's words were heard, connect the caller to this number (E.164).

        Raises: TransferRefused when calls to it are not allowed.
        """
        ...

    def note(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Add an event to the call's record; `kind` is a dotted constant."""
        ...


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A finished turn, as heard; times in ms from answer."""

    who: Speaker
    text: str
    start_ms: int
    end_ms: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of one turn: `direction` is "input" or "output", `modality` as "audio", "text"."""

    direction: str
    modality: str
    tokens: int


class Record(Protocol):
    """Takes a running call's record. It is written asynchronously: no method waits or fails."""

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        ...

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event; `kind` is a dotted constant."""
        ...

    def usage(self, counts: list[TokenCount]) -> None:
        """Record the tokens of one turn."""
        ...


@dataclass
class MemoryRecord:
    """A record in memory, for pipelines that run without a server."""

    turns: list[SpokenTurn] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    counts: list[TokenCount] = field(default_factory=list)

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        self.turns.append(turn)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event."""
        self.events.append((kind, dict(detail or {})))

    def usage(self, counts: list[TokenCount]) -> None:
        """Record token counts."""
        self.counts.extend(counts)
