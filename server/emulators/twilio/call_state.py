"""Where a call is, in Twilio's words, and what may follow.

    queued ─▶ initiated ─▶ ringing ─▶ in-progress ─▶ completed
                  └───────────┴─▶ busy · no-answer · failed · canceled

Source: https://www.twilio.com/docs/voice/api/call-resource#call-status-values
"""

from enum import StrEnum


class CallState(StrEnum):
    """Twilio's words for where a call is."""

    QUEUED = "queued"
    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self not in NEXT


_UNANSWERED = frozenset({CallState.BUSY, CallState.NO_ANSWER, CallState.FAILED, CallState.CANCELED})
NEXT = {
    CallState.QUEUED: frozenset({CallState.INITIATED, CallState.CANCELED, CallState.FAILED}),
    CallState.INITIATED: frozenset({CallState.RINGING}) | _UNANSWERED,
    CallState.RINGING: frozenset({CallState.IN_PROGRESS}) | _UNANSWERED,
    CallState.IN_PROGRESS: frozenset({CallState.COMPLETED}),
}
EVENT_OF = {
    CallState.INITIATED: "initiated",
    CallState.RINGING: "ringing",
    CallState.IN_PROGRESS: "answered",
}
