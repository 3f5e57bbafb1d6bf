"""Counts what a call costs while it is recorded: a session that nobody answers was bought, too."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from agent.ports import Record, SpokenTurn, TokenCount


class TokenMeter:
    """A record that passes everything on, and knows how many tokens were used so far."""

    def __init__(self, record: Record) -> None:
        self._record = record
        # (direction, modality) to tokens.
        self.tokens: Counter[tuple[str, str]] = Counter()

    def turn(self, turn: SpokenTurn) -> None:
        """Keep a finished turn."""
        self._record.turn(turn)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Keep that something happened."""
        self._record.event(kind, detail)

    def usage(self, counts: list[TokenCount]) -> None:
        """Keep what one turn cost."""
        for count in counts:
            self.tokens[count.direction, count.modality] += count.tokens
        self._record.usage(counts)
