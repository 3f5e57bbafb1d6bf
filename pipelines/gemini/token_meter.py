"""TokenMeter: counts a call's tokens on their way to the record, also of unanswered calls."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from agent.ports import Record, SpokenTurn, TokenCount


class TokenMeter:
    """A `Record` that passes everything on, and counts the tokens used so far."""

    def __init__(self, record: Record) -> None:
        self._record = record
        # (direction, modality) to tokens.
        self.tokens: Counter[tuple[str, str]] = Counter()

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        self._record.turn(turn)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event."""
        self._record.event(kind, detail)

    def usage(self, counts: list[TokenCount]) -> None:
        """Record and count the tokens of one turn."""
        for count in counts:
            self.tokens[count.direction, count.modality] += count.tokens
        self._record.usage(counts)
