"""Lifecycle state of a call, its timeouts, and the TwiML that follows from it.

Standard library only. The state converts to JSON and back, so that a restarted server or another
instance continues with it.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from agent.lifecycle.events import Timer
from agent.lifecycle.statuses import CallStatus, Direction, Driver, EndReason

RULES_VERSION = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts of a call, in seconds, and how often it retries. Stored with its state."""

    # After the ring timeout, before Twilio is asked for the status.
    ring_margin_secs: float = 15.0
    # Twilio's own queue, when many calls are placed at once.
    queue_secs: float = 3600.0
    # After the maximum duration, for the agent's goodbye.
    limit_margin_secs: float = 30.0
    # How long a transferred caller may talk: Twilio's own limit for <Dial>.
    transfer_secs: float = 14_400.0
    # From the end of the conversation, or the fetch of its last TwiML, to the end of the sentence.
    last_words_secs: float = 25.0
    # A call that is not answered: the pause before Twilio is asked first, and the longest.
    unanswered_secs: float = 10.0
    unanswered_at_most_secs: float = 15.0
    # The pause before each look-up of a call that Twilio may not have.
    unclear_dial_secs: float = 3.5
    # Other calls: the first pause before Twilio is asked (doubled each time) and the longest; of a
    # call that nobody here hears, and that is not transferred, another one.
    reconcile_secs: float = 5.0
    reconcile_at_most_secs: float = 300.0
    unheard_at_most_secs: float = 60.0
    # A shorter stream is a failure; so many in a row end the call.
    short_stream_secs: float = 5.0
    short_streams: int = 3
    # Look-ups that must say "no such call" before an unclear dial counts as never placed.
    not_found_tries: int = 4
    # Look-ups without any news, or hang-ups that Twilio did not confirm.
    tries: int = 10


@dataclass(frozen=True, slots=True)
class CallState:
    """Everything the rules know about one call. Times are seconds since the epoch."""

    direction: Direction
    patience: Patience = Patience()
    rules: int = RULES_VERSION
    status: CallStatus = CallStatus.INITIATED
    end_reason: EndReason | None = None
    # A sentence for the person who placed the call.
    error: str | None = None
    twilio_sid: str | None = None
    # `Dial` was given; it is given only once.
    dialled: bool = False
    ring_timeout_secs: float = 60.0
    max_duration_secs: float = 1800.0
    placed_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    # The stream that carries the call now, the instance that has it, and the one that ended last.
    stream_sid: str | None = None
    instance: str | None = None
    last_stream_sid: str | None = None
    # TwiML that opens a stream was given, and no stream has come yet.
    stream_due: bool = False
    short_streams: int = 0
    # Its instance has stopped, and no other has taken over since.
    abandoned: bool = False
    # The apology the caller hears before the end ("no_model", "system"); the transfer (E.164).
    apology: str | None = None
    transfer_to: str | None = None
    # The call is to end now, and how often Twilio was told to hang up.
    hanging_up: bool = False
    hang_ups: int = 0
    # Look-ups since the last news, and how many of them found no call at all.
    look_ups: int = 0
    not_found: int = 0
    # The timers that are armed.
    deadlines: dict[Timer, float] = field(default_factory=dict)
    # What carries out the commands, and the ids of the last events that came from outside.
    driver: Driver = Driver.LOCAL
    told: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "CallState":
        """The state that `to_json` gave.

        Raises: ValueError for the state of a newer version's rules.
        """
        if values["rules"] > RULES_VERSION:
            raise ValueError(f"the call follows rules {values['rules']}, known: {RULES_VERSION}")
        reason = values["end_reason"]
        return cls(
            **values
            | {
                "direction": Direction(values["direction"]),
                "patience": Patience(**_EARLIER_PATIENCE | values["patience"]),
                "status": CallStatus(values["status"]),
                "end_reason": EndReason(reason) if reason else None,
                "deadlines": {Timer(t): at for t, at in values["deadlines"].items()},
                "driver": Driver(values.get("driver", Driver.LOCAL)),
                "told": tuple(values.get("told", ())),
            }
        )


# What calls that began before these were there go on with.
_EARLIER_PATIENCE = {"unheard_at_most_secs": 300.0}


def new_call(
    direction: Direction, patience: Patience | None = None, driver: Driver = Driver.LOCAL
) -> CallState:
    """The initial state of a call; its first event is `Placed`."""
    return CallState(direction=direction, patience=patience or Patience(), driver=driver)


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Connect a media stream, and ask again when it closes."""


@dataclass(frozen=True, slots=True)
class Apologise:
    """Say the sentence that `key` ("no_model", "system") names; hang up in the same document."""

    key: str


@dataclass(frozen=True, slots=True)
class TransferVerb:
    """Dial `number` (E.164) for the caller, and hang up in the same document.

    `apologises`: the agent could not go on, which the caller is told before.
    """

    number: str
    apologises: bool = False


@dataclass(frozen=True, slots=True)
class HangUpVerb:
    """Hang up."""


Plan = OpenStream | Apologise | TransferVerb | HangUpVerb


def next_verbs(state: CallState) -> Plan:
    """The TwiML to answer with now; call it after `TwimlFetched` was decided."""
    if state.status.is_terminal or state.hanging_up:
        return HangUpVerb()
    if state.transfer_to:
        failed = state.end_reason in (EndReason.NO_MODEL, EndReason.SYSTEM)
        return TransferVerb(state.transfer_to, apologises=failed)
    if state.apology:
        return Apologise(state.apology)
    return OpenStream()
