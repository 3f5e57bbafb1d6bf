"""LifeDecision: what some events make of a call, for the record and for whoever carries it out."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.clock import moment
from agent.lifecycle.events import Command, Event, TimerFired, as_record
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState
from agent.record.models import CallEvent


@dataclass(frozen=True, slots=True)
class LifeDecision:
    """What becomes of a call, what is to be done, and what the record keeps of it."""

    before: CallState
    state: CallState
    commands: tuple[Command, ...]
    events: tuple[CallEvent, ...]


def decide_all(call_id: str, before: CallState, told: Sequence[Event]) -> LifeDecision:
    """Decide some events in their order; a timer that changed nothing leaves no event."""
    state = before
    commands: list[Command] = []
    events: list[CallEvent] = []
    for event in told:
        was = state
        state, more = decide(was, event)
        if state == was and isinstance(event, TimerFired):
            continue
        commands += more
        events.append(happened(call_id, event))
        if (state.status, state.end_reason) != (was.status, was.end_reason):
            reason = state.end_reason.value if state.end_reason else None
            detail = {"status": state.status.value, "end_reason": reason}
            at = moment(event.at)
            events.append(CallEvent(call_id=call_id, at=at, kind="life.status", detail=detail))
    return LifeDecision(before, state, tuple(commands), tuple(events))


def happened(call_id: str, event: Event) -> CallEvent:
    """An event as the record keeps it."""
    kind, detail = as_record(event)
    return CallEvent(call_id=call_id, at=moment(event.at), kind=kind, detail=detail)
