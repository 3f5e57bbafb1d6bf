"""What the record of a call has of its life: the whole state, and columns to query by."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.calls import Call, CallStatus, EndReason
from agent.clock import moment
from agent.life_state import CallState

# What of a life has a column of its own to query by, and how it is there.
_COPIED: dict[str, Callable[[Any], object]] = {
    "status": CallStatus,
    "end_reason": EndReason,
    "twilio_sid": str,
    "answered_at": moment,
    "ended_at": moment,
    "error": lambda error: error[:1000] or None,
}


def life_columns(state: CallState, before: CallState | None = None) -> dict[str, object]:
    """The columns of a call that its life decides; with `before`, those that differ from then."""
    columns: dict[str, object] = {"life": state.to_json()}
    for name, as_column in _COPIED.items():
        value = getattr(state, name)
        if before is None or value != getattr(before, name):
            columns[name] = None if value is None else as_column(value)
    return columns


def take_over(call: Call, columns: Mapping[str, object]) -> None:
    """Have the record of a call say what the database has by now, or is about to have."""
    # Past SQLAlchemy's instrumentation: this record belongs to no session, nothing writes it back.
    vars(call).update(columns)
