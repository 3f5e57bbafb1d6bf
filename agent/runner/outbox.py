"""LifeOutbox: events not stored yet, and decisions whose commit is unconfirmed, by call."""

from collections import deque

from agent.lifecycle.events import Event
from agent.lifecycle.state import CallState
from agent.record.decision import LifeDecision


class LifeOutbox:
    """Events that wait for the database, and decisions whose commit was not confirmed."""

    def __init__(self) -> None:
        self._events: dict[str, deque[Event]] = {}
        self._unconfirmed: dict[str, LifeDecision] = {}

    def put(self, call_id: str, event: Event) -> None:
        """Queue an event behind those of its call that wait already."""
        self._events.setdefault(call_id, deque()).append(event)

    def waiting(self, call_id: str) -> list[Event]:
        """All waiting events of a call, the first one first."""
        return list(self._events.get(call_id, ()))

    def told(self, call_id: str) -> None:
        """Remove the first waiting event: it was stored, or never can be."""
        waiting = self._events[call_id]
        waiting.popleft()
        if not waiting:
            del self._events[call_id]

    def forget(self, call_id: str) -> None:
        """Remove everything of a call that no longer exists."""
        self._events.pop(call_id, None)
        self._unconfirmed.pop(call_id, None)

    def decided(self, call_id: str, decision: LifeDecision) -> None:
        """Remember a decision until `confirm`; it replaces one that was not stored."""
        self._unconfirmed[call_id] = decision

    def confirm(self, call_id: str, state: CallState) -> LifeDecision | None:
        """Return the decision, once, when the record's `state` shows that it was stored."""
        decision = self._unconfirmed.get(call_id)
        if decision is None or decision.state != state:
            return None
        return self._unconfirmed.pop(call_id)
