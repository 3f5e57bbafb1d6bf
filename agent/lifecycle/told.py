"""Told: a lifecycle event with an id, as JSON, so that one that is told twice counts once.

Standard library only: it passes through workflows and is kept while a workflow cannot be reached.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from agent.lifecycle.events import EVENT_TYPES, Event, as_record
from agent.lifecycle.state import CallState

# Ids that a state remembers; an event comes twice within seconds, if at all.
REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Told:
    """An event that was told to a call; `values` is the event as JSON."""

    id: str
    values: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> "Told":
        """The event with a new id."""
        return cls(uuid4().hex[:12], event_to_json(event))

    @property
    def event(self) -> Event:
        """The event. Raises: ValueError when it is none that is known here."""
        return event_from_json(self.values)

    def is_in(self, state: CallState) -> bool:
        """Whether the state has taken the event already."""
        return self.id in state.told

    def noted(self, state: CallState) -> CallState:
        """The state, which has taken this event now."""
        return replace(state, told=(*state.told, self.id)[-REMEMBERED:])


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as JSON values: `kind`, `at`, and its own fields as far as they are set."""
    kind, detail = as_record(event)
    return {"kind": kind, "at": event.at, **detail}


def event_from_json(values: dict[str, Any]) -> Event:
    """The event that `event_to_json` gave. Raises: ValueError."""
    fields = {name: value for name, value in values.items() if name != "kind"}
    try:
        event: Event = EVENT_TYPES[values["kind"]](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event of a call: {values.get('kind')!r}") from error
    return event
