"""Conversation so far: the turns as heard, as text for a new session of the model."""

from collections.abc import Callable

from agent.ports import SpokenTurn
from agent.record.models import Speaker


class Conversation:
    """The turns of one call, ordered by when they began."""

    def __init__(self, earlier: str = "") -> None:
        """`earlier`: what was said before, on another instance, as `as_text` gave it."""
        self.turns: list[SpokenTurn] = []
        self._earlier = earlier
        # Called after each turn.
        self.on_turn: Callable[[], None] = lambda: None

    def add(self, turn: SpokenTurn) -> None:
        """Insert a turn by its start time; it may become known late."""
        position = len(self.turns)
        while position and self.turns[position - 1].start_ms > turn.start_ms:
            position -= 1
        self.turns.insert(position, turn)
        self.on_turn()

    def as_text(self) -> str:
        """The conversation for a model to read, one turn a line."""
        names = {Speaker.CALLER: "Caller", Speaker.AGENT: "You"}
        lines = [
            f"{names[turn.who]}: {turn.text}{' (interrupted)' if turn.interrupted else ''}"
            for turn in self.turns
            if turn.text
        ]
        return "\n".join(filter(None, [self._earlier, *lines]))
