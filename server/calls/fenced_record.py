"""FencedRecord: keeps an instance that was frozen from recording turns that another one has."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.ports import Record, SpokenTurn, TokenCount


class FencedRecord:
    """A `Record` that takes turns only while `holds`: the call is this instance's.

    Events and tokens are its own in any case.
    """

    def __init__(self, record: Record, holds: Callable[[], bool]) -> None:
        self._record = record
        self._holds = holds

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        if self._holds():
            self._record.turn(turn)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event."""
        self._record.event(kind, detail)

    def usage(self, counts: list[TokenCount]) -> None:
        """Record the tokens of one turn."""
        self._record.usage(counts)
