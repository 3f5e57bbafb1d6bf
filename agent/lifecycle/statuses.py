"""The words for a call that its life, its record and its API share. Standard library only."""

from enum import StrEnum


class CallStatus(StrEnum):
    """Where a call is, in Twilio's terms; the last five never change again."""

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
    """Who dialled."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Speaker(StrEnum):
    """Who spoke a turn. `caller` is the person on the phone, whoever dialled."""

    CALLER = "caller"
    AGENT = "agent"
