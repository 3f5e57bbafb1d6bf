"""What a scenario file says, as values. Every value that can fail knows the line it stands on.

The words are those of Pipecat's scripted evals (`turns`, `user`, `expect`, …), and what a telephone
adds: `call`, `gemini`, `outcome`. Durations are in the unit of their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from server.emulators.twilio import LineConditions

# Pipecat's default budget of an expectation.
DEFAULT_WITHIN_MS = 60_000

OUR_NUMBER = "+15550100999"
Direction = Literal["outbound", "inbound"]
Answer = Literal["person", "busy", "no_answer", "rejected", "unreachable", "invalid", "voicemail"]


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a scenario file; lines count from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call to look for: `args` is a subset; None for either is "any"."""

    name: str | None = None
    args: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One event that must come (or, `absent`, must not) within `within_ms` of the turn's send."""

    where: Where
    event: str
    within_ms: int = DEFAULT_WITHIN_MS
    text_contains: str | None = None
    text_excludes: str | None = None
    calls: tuple[ToolCall, ...] = ()
    absent: bool = False
    # True: looked for among all events of the turn, not only behind the expectation before.
    from_turn_start: bool = False
    # A sentence about the reply that a model may judge.
    criterion: str | None = None


@dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that a scenario asks for and a telephone cannot show; reported, never passed."""

    where: Where
    what: str


@dataclass(frozen=True, slots=True)
class SendAfter:
    """When a turn's input goes out: so long after an event, or after the send before it."""

    where: Where
    event: str | None
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller does, and what must come of it.

    `parts` are what is said: texts, and pauses in ms. `audio` is played instead, and `text` is what
    it says. At most one of speech, `dtmf` and `hang_up` is there; none: the turn only waits.
    """

    where: Where
    parts: tuple[str | int, ...] = ()
    audio: Path | None = None
    # The part of the recording that is played, in ms from its start; None: all of it.
    audio_ms: tuple[int, int] | None = None
    dtmf: str | None = None
    hang_up: bool = False
    # Press or speak at once instead of waiting for the agent to be quiet.
    send_after: SendAfter | None = None
    expect: tuple[Expectation, ...] = ()

    @property
    def text(self) -> str:
        """What the caller says in this turn."""
        return " ".join(part for part in self.parts if isinstance(part, str))

    @property
    def does_something(self) -> bool:
        """Whether the caller speaks, presses or hangs up; otherwise the turn only waits."""
        return bool(self.parts or self.audio or self.dtmf or self.hang_up)


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The phone call: who calls whom, how it is answered, what the request says of the agent."""

    direction: Direction = "outbound"
    # The person's number, and ours.
    number: str = "+15550100123"
    our_number: str = OUR_NUMBER
    ring_ms: int = 1_000
    answer: Answer = "person"
    # The fields of POST /calls: pipeline, greeting, system_prompt, voice, language, vad_config,
    # max_duration_seconds, metadata. For inbound calls, what INBOUND_NUMBERS says of our number.
    request: Mapping[str, Any] = field(default_factory=dict)
    # espeak-ng's voice of the caller, and the line's noise: dB of the speech above it.
    voice: str | None = None
    noise_snr_db: float | None = None
    # After the last turn the caller stays on the line until somebody hangs up, or puts down.
    stays: bool = True
    # Status callbacks of Twilio's: lost ones by event, late by ms, each twice.
    callbacks_lost: frozenset[str] = frozenset()
    callbacks_delay_ms: int = 0
    callbacks_twice: bool = False

    @property
    def phone_number(self) -> str:
        """TWILIO_PHONE_NUMBER: ours, or another when a SIP address of ours is called."""
        return self.our_number if self.our_number.startswith("+") else OUR_NUMBER


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with Gemini or the stream, so long after the answer.

    `kind`: drop (with `code`), go_away (with `left_ms`), stall, garbage, send (with `message`),
    lose_stream.
    """

    where: Where
    kind: Literal["drop", "go_away", "stall", "garbage", "send", "lose_stream"]
    at_ms: int
    code: int = 1011
    left_ms: int = 10_000
    message: Any = None


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The emulated model; a real Gemini reads none of this. `script` is the emulator's format."""

    script: Mapping[str, Any] = field(default_factory=dict)
    setup_ms: int = 300
    thinking_ms: int = 300
    # Of the emulator's ConnectFault: dicts with http_status | close | stall, and connects.
    connect_faults: tuple[Mapping[str, Any], ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn that the record must hold."""

    where: Where
    who: Literal["caller", "agent"]
    text_contains: str | None = None
    text_excludes: str | None = None
    interrupted: bool | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that must not be above `most`."""

    where: Where
    most: float


@dataclass(frozen=True, slots=True)
class Fact:
    """A word that must be as it is here."""

    where: Where
    value: str


@dataclass(frozen=True, slots=True)
class HeardSentence:
    """A sentence of the agent that must be heard whole at the phone, recognised from its sound."""

    where: Where
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What must be true once the call is over. None: not asked for."""

    status: Fact | None = None
    end_reason: Fact | None = None
    # The record's turns: all of them, in this order.
    record: tuple[RecordedTurn, ...] | None = None
    record_where: Where | None = None
    # The sentences heard, in this order (others may be between).
    heard: tuple[HeardSentence, ...] = ()
    # Holes inside a reply at the phone: how many.
    gaps: Limit | None = None
    # Of each reply that the model said to its end: what of its end was not heard, and what was lost
    # from or added to its sound on the way.
    cut_off_ms: Limit | None = None
    altered_ms: Limit | None = None
    # Of the caller's sound: what never reached the model.
    uplink_lost_ms: Limit | None = None
    # Our share of a response: from the model's first sound to the first sound at the phone.
    added_ms: Limit | None = None
    # From the caller's last sound to the agent's first one, the model's thinking included.
    response_ms: Limit | None = None
    # Both speaking at once, and nobody speaking, at the longest stretch.
    overlap_ms: Limit | None = None
    dead_air_ms: Limit | None = None
    # From the caller's first sound over the agent to the agent's last one.
    barge_in_silence_ms: Limit | None = None
    # Kinds of call events (GET /calls/{id}/events) that must be there.
    events: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One call. `name` is `<file's name>/<scenario's name>`."""

    name: str
    where: Where
    call: CallPlan = field(default_factory=CallPlan)
    model: ModelPlan = field(default_factory=ModelPlan)
    turns: tuple[Turn, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)
    stop_on_failure: bool = True
    # What is wrong with the line; None: nothing.
    line: LineConditions | None = None
    # A cassette that is replayed whole; the call above is then only told of.
    cassette: Path | None = None
    # All that the file asks for and that cannot be checked at a phone.
    not_checked: tuple[NotChecked, ...] = ()
