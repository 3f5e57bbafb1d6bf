"""HeldRecord: keeps what is recorded until the call that it belongs to exists."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.ports import Record, SpokenTurn, TokenCount


class HeldRecord:
    """A `Record` that passes on what it was given once it is released, and later at once."""

    def __init__(self) -> None:
        self._record: Record | None = None
        self._held: list[Callable[[Record], None]] = []

    def release(self, record: Record) -> None:
        """Pass everything on to `record` from now on."""
        self._record = record
        held, self._held = self._held, []
        for write in held:
            write(record)

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        self._write(lambda record: record.turn(turn))

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event."""
        self._write(lambda record: record.event(kind, detail))

    def usage(self, counts: list[TokenCount]) -> None:
        """Record the tokens of one turn."""
        self._write(lambda record: record.usage(counts))

    def _write(self, write: Callable[[Record], None]) -> None:
        if self._record is None:
            self._held.append(write)
        else:
            write(self._record)
