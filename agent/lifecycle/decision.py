"""Decision: what follows from one or more events of a call, with what the record keeps of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.lifecycle.events import Command, Event, TimerFired, as_record
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as the record keeps it; `at` is seconds since the epoch."""

    at: float
    kind: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> "RecordedEvent":
        """The lifecycle event as the record keeps it."""
        kind, detail = as_record(event)
        return cls(event.at, kind, detail)


@dataclass(frozen=True, slots=True)
class Decision:
    """A call's states before and after, the commands to carry out, and the events to record."""

    before: CallState
    state: CallState
    commands: tuple[Command, ...]
    recorded: tuple[RecordedEvent, ...]


def decide_all(before: CallState, told: Sequence[Event]) -> Decision:
    """Apply events in order; a timer that changed nothing is not recorded."""
    state = before
    commands: list[Command] = []
    recorded: list[RecordedEvent] = []
    for event in told:
        was = state
        state, more = decide(was, event)
        if state == was and isinstance(event, TimerFired):
            continue
        commands += more
        recorded.append(RecordedEvent.of(event))
        if (state.status, state.end_reason) != (was.status, was.end_reason):
            reason = state.end_reason.value if state.end_reason else None
            detail = {"status": state.status.value, "end_reason": reason}
            recorded.append(RecordedEvent(event.at, "life.status", detail))
    return Decision(before, state, tuple(commands), tuple(recorded))
