"""LifeDecision: the new state, commands and rows of the record that follow from events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.clock import utc_datetime
from agent.lifecycle import decision
from agent.lifecycle.decision import RecordedEvent
from agent.lifecycle.events import Command, Event
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
    """Apply events in order, with what is stored of them."""
    made = decision.decide_all(before, told)
    return LifeDecision(before, made.state, made.commands, tuple(rows(call_id, made.recorded)))


def as_call_event(call_id: str, event: Event) -> CallEvent:
    """The lifecycle event as a row of the record."""
    return next(iter(rows(call_id, [RecordedEvent.of(event)])))


def rows(
    call_id: str, recorded: Iterable[RecordedEvent], revision: int | None = None
) -> list[CallEvent]:
    """Events of a call as rows of the record, of the revision that a workflow made."""
    return [
        CallEvent(
            call_id=call_id,
            at=utc_datetime(event.at),
            kind=event.kind,
            detail=event.detail,
            revision=revision,
        )
        for event in recorded
    ]
