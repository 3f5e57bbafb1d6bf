"""LifeDecision: the new state, commands and record events that follow from lifecycle events."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.clock import utc_datetime
from agent.lifecycle.events import Command, Event, TimerFired, as_record
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState
from agent.record.models import CallEvent


@dataclass(frozen=True, slots=True)
class LifeDecision:
    """A call's states before and after, the commands to carry out, and the events to store."""

    before: CallState
    state: CallState
    commands: tuple[Command, ...]
    events: tuple[CallEvent, ...]


def decide_all(call_id: str, before: CallState, told: Sequence[Event]) -> LifeDecision:
    """Apply events in order; a timer that changed nothing is not recorded."""
    state = before
    commands: list[Command] = []
    events: list[CallEvent] = []
    for event in told:
        was = state
        state, more = decide(was, event)
        if state == was and isinstance(event, TimerFired):
            continue
        commands += more
        events.append(as_call_event(call_id, event))
        if (state.status, state.end_reason) != (was.status, was.end_reason):
            reason = state.end_reason.value if state.end_reason else None
            detail = {"status": state.status.value, "end_reason": reason}
            at = utc_datetime(event.at)
            events.append(CallEvent(call_id=call_id, at=at, kind="life.status", detail=detail))
    return LifeDecision(before, state, tuple(commands), tuple(events))


def as_call_event(call_id: str, event: Event) -> CallEvent:
    """The lifecycle event as a row of the record."""
    kind, detail = as_record(event)
    return CallEvent(call_id=call_id, at=utc_datetime(event.at), kind=kind, detail=detail)
