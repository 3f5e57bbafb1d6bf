"""SupervisorHints: what a supervisor tells the model in a call, and which session knows it.

hints    |== covered by a handle ==|== told ==|== untold ==|
a resumed session is told           ^^^^^^^^^^
a fresh session is told  ^^^^^^^^^^^^^^^^^^^^^
"""

from collections.abc import Sequence

from agent.model_instructions import HINT

# More hints in one call are dropped.
MOST_HINTS = 100


class SupervisorHints:
    """The hints of one call, oldest first, each as the line that the model is sent."""

    def __init__(self, earlier: Sequence[str] = ()) -> None:
        """`earlier`: the lines that another instance has sent."""
        self._lines = list(earlier)
        # How many, from the oldest on, the model was sent.
        self._told = len(self._lines)
        # How many of these the newest handle covers.
        self._covered = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._lines)

    def add(self, text: str) -> bool:
        """Add a hint in the supervisor's words; False when there are too many."""
        if len(self._lines) >= MOST_HINTS:
            return False
        self._lines.append(HINT.format(" ".join(text.split())))
        return True

    def take_untold(self) -> list[str]:
        """The lines that wait; they count as told from now on."""
        untold = self._lines[self._told :]
        self._told = len(self._lines)
        return untold

    def covered(self) -> None:
        """A handle covers what was told so far."""
        self._covered = self._told

    def for_session(self, *, resumed: bool) -> list[str]:
        """What a session that takes over has to be told again."""
        return self._lines[self._covered if resumed else 0 : self._told]
