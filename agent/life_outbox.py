"""Outbox: what the database has not taken yet, or may have taken without saying so, by call."""

from collections import deque

from agent.life_decision import LifeDecision
from agent.life_events import Event
from agent.life_state import CallState


class LifeOutbox:
    """Events that wait for the database, and decisions whose commit was not confirmed."""

    def __init__(self) -> None:
        self._events: dict[str, deque[Event]] = {}
        self._unconfirmed: dict[str, LifeDecision] = {}

    def put(self, call_id: str, event: Event) -> None:
        """Have this event told after those that wait already."""
        self._events.setdefault(call_id, deque()).append(event)

    def waiting(self, call_id: str) -> tuple[Event, ...]:
        """The events that wait now, in the order in which they are to be told."""
        return tuple(self._events.get(call_id, ()))

    def told(self, call_id: str) -> None:
        """Forget the first event: it was told, or never can be."""
        waiting = self._events[call_id]
        waiting.popleft()
        if not waiting:
            del self._events[call_id]

    def forget(self, call_id: str) -> None:
        """Forget everything of a call that no longer exists."""
        self._events.pop(call_id, None)
        self._unconfirmed.pop(call_id, None)

    def decided(self, call_id: str, decision: LifeDecision) -> None:
        """Remember a decision until `confirm`; it takes the place of one that was not kept."""
        self._unconfirmed[call_id] = decision

    def confirm(self, call_id: str, state: CallState) -> LifeDecision | None:
        """The decision, once, when `state`, which the record has, shows that it was kept."""
        decision = self._unconfirmed.get(call_id)
        if decision is None or decision.state != state:
            return None
        return self._unconfirmed.pop(call_id)
