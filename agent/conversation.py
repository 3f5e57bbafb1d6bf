"""What was said so far in a call, as heard: what a new session of the model is told."""

from agent.ports import SpokenTurn
from agent.record.models import Speaker


class Conversation:
    """The turns of one call, ordered by when they began."""

    def __init__(self) -> None:
        self.turns: list[SpokenTurn] = []

    def add(self, turn: SpokenTurn) -> None:
        """Take in a turn; one that became known late still finds its place."""
        position = len(self.turns)
        while position and self.turns[position - 1].start_ms > turn.start_ms:
            position -= 1
        self.turns.insert(position, turn)

    def as_text(self) -> str:
        """The conversation for a model to read, one turn a line."""
        names = {Speaker.CALLER: "Caller", Speaker.AGENT: "You"}
        return "\n".join(
            f"{names[turn.who]}: {turn.text}{' (interrupted)' if turn.interrupted else ''}"
            for turn in self.turns
            if turn.text
        )
