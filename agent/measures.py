"""Measurements of running calls, as plain values for a sink (Prometheus, a bench, a test).

Durations are seconds. A sink is called on the event loop and must not block.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FirstSound:
    """From the stream's `start` (the phone is answered) to the agent's first sound heard."""

    secs: float


@dataclass(frozen=True, slots=True)
class TurnResponse:
    """From the caller's last sound to the first sound of the reply heard, by a mark."""

    secs: float


@dataclass(frozen=True, slots=True)
class BargeIn:
    """From the caller's first sound over the agent to `clear` sent to Twilio."""

    secs: float


@dataclass(frozen=True, slots=True)
class PlaybackGap:
    """Silence inside a reply: its next sound came after all that was sent had been played."""

    secs: float


@dataclass(frozen=True, slots=True)
class DeadAir:
    """A silence so long that something is done about it.

    `what`: caller (says nothing, and is asked), model (owes an answer, and is reminded) or
    model_gone (ignored the reminder: the call ends).
    """

    what: str


@dataclass(frozen=True, slots=True)
class ModelConnect:
    """One attempt to open a Gemini session: `ok`, or the reason why it failed.

    `said`: what Gemini, or the network on the way to it, said of that; without secrets.
    """

    outcome: str
    secs: float
    said: str = ""


@dataclass(frozen=True, slots=True)
class ModelDrop:
    """A Gemini session that ended before the call did."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelSwitch:
    """Another connection took over a call.

    `cause`: successor_planned (between two turns), successor_forced (there was no time),
    hedge_spoke_first, or either with _dropped (the one that served was lost).
    """

    cause: str


@dataclass(frozen=True, slots=True)
class ModelDeadAir:
    """The caller waited for too long, and something was done about it.

    `cause`: no_answer, empty_turn, near_silent or half_reply. `action`: prompted, filled or
    given_up.
    """

    cause: str
    action: str


@dataclass(frozen=True, slots=True)
class ModelLeftOut:
    """A message of Gemini's, or a part of one, that was not used.

    `what`: not_json, not_an_object, message, part, sound_type or failed.
    """

    what: str


@dataclass(frozen=True, slots=True)
class Packets:
    """Twilio media messages of one call since the last report."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class UplinkShare:
    """Our processing time inbound: from the caller's packet to Gemini's socket.

    Sampled, one packet in 50: see `pipelines/phone/packet_stamp.py`.
    """

    secs: float


@dataclass(frozen=True, slots=True)
class DownlinkShare:
    """Our processing time outbound: from Gemini's chunk to the packet at Twilio's socket."""

    secs: float


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Outcome of prewarming a call while it rang, `secs` after prewarming began.

    `outcome`: used, joined (answered while it was being prepared), cold (answered unprepared),
    released (nobody answered), limit, too_old, spare (a replacement for one that was too old, not
    ready in time), stopped (with this process), or failed_ and the reason.
    """

    outcome: str
    secs: float


@dataclass(frozen=True, slots=True)
class WarmWaste:
    """Tokens of a prewarmed session that was never used."""

    direction: str
    modality: str
    tokens: int


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """Outcome of a call's recording.

    `outcome`: whole, limit (cut at its longest), no_space, cannot_write, too_slow (the disk),
    erased.
    """

    outcome: str


@dataclass(frozen=True, slots=True)
class RecordingWritten:
    """Bytes written to all recordings since the last report."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class CassetteEnded:
    """Outcome of a call's cassette.

    `outcome`: whole, limit (cut at its largest), no_space, cannot_write, too_slow (the disk),
    erased.
    """

    outcome: str


@dataclass(frozen=True, slots=True)
class CassetteWritten:
    """Bytes written to all cassettes since the last report."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class ToolLetGo:
    """A tool that runs on although it was cancelled: nobody waits for it."""

    tool: str


Measure = (
    FirstSound
    | TurnResponse
    | BargeIn
    | PlaybackGap
    | DeadAir
    | ModelConnect
    | ModelDrop
    | ModelSwitch
    | ModelDeadAir
    | ModelLeftOut
    | Packets
    | UplinkShare
    | DownlinkShare
    | WarmUp
    | WarmWaste
    | RecordingEnded
    | RecordingWritten
    | CassetteEnded
    | CassetteWritten
    | ToolLetGo
)
MeasureSink = Callable[[Measure], None]
