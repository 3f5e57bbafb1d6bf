"""What we measure, as plain values; whoever counts them (Prometheus, a bench, a test) takes these.

Durations are seconds. A sink is called on the event loop and must not block.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FirstSound:
    """From the stream's `start` (the phone is answered) to the agent's first sound at the ear."""

    secs: float


@dataclass(frozen=True, slots=True)
class TurnResponse:
    """From the caller's last sound to the first sound of the reply at the ear, told by a mark."""

    secs: float


@dataclass(frozen=True, slots=True)
class BargeIn:
    """From the caller's first sound over the agent to `clear` sent to Twilio."""

    secs: float


@dataclass(frozen=True, slots=True)
class ModelConnect:
    """One attempt to open a Gemini session: `ok`, or the reason why it failed."""

    outcome: str
    secs: float


@dataclass(frozen=True, slots=True)
class ModelDrop:
    """A Gemini session that ended before the call did."""

    reason: str


@dataclass(frozen=True, slots=True)
class Packets:
    """Twilio media messages of one call since the last report."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class UplinkShare:
    """Our share of the way in: from the caller's packet to Gemini's socket.

    A sample of a call's packets: see `pipelines/phone/packet_stamp.py`.
    """

    secs: float


@dataclass(frozen=True, slots=True)
class DownlinkShare:
    """Our share of the way out: from Gemini's chunk to the packet at Twilio's socket."""

    secs: float


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What became of preparing a call while it rang; `secs` from the beginning to that.

    `outcome`: used, joined (answered while it was being prepared), cold (answered unprepared),
    released (nobody answered), limit, too_old, spare (made to replace one that was too old, and
    came too late), stopped (with this process), or failed_ and the reason.
    """

    outcome: str
    secs: float


@dataclass(frozen=True, slots=True)
class WarmWaste:
    """Tokens of a session that was prepared and that nobody ever talked to."""

    direction: str
    modality: str
    tokens: int


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """What became of the recording of a call.

    `outcome`: whole, limit (cut at its longest), no_space, cannot_write, too_slow (the disk),
    erased.
    """

    outcome: str


@dataclass(frozen=True, slots=True)
class RecordingWritten:
    """How much all recordings together have grown since the last report."""

    byte_count: int


Measure = (
    FirstSound
    | TurnResponse
    | BargeIn
    | ModelConnect
    | ModelDrop
    | Packets
    | UplinkShare
    | DownlinkShare
    | WarmUp
    | WarmWaste
    | RecordingEnded
    | RecordingWritten
)
MeasureSink = Callable[[Measure], None]
