"""Enums of a call that lifecycle, record and API share: status, end reason, direction, driver, …

Standard library only.
"""

from enum import StrEnum


class CallStatus(StrEnum):
    """Status of a call, in Twilio's terms; the last five are final."""

    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the call is over."""
        return self not in (CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class EndReason(StrEnum):
    """Who or what ended the call, in our terms."""

    CALLER = "caller"
    AGENT = "agent"
    API = "api"
    LIMIT = "limit"
    SILENCE = "silence"
    NO_MODEL = "no_model"
    SYSTEM = "system"


class Direction(StrEnum):
    """Whether we called the person (outbound) or the person called us."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Driver(StrEnum):
    """What runs the life of a call: this server's process, or a workflow."""

    LOCAL = "local"
    TEMPORAL = "temporal"


class Speaker(StrEnum):
    """Who spoke a turn. `caller` is the person on the phone, whoever dialled."""

    CALLER = "caller"
    AGENT = "agent"
