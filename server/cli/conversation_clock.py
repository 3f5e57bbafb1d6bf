"""Prints the lines of a conversation with the seconds since its phone began to ring."""

import asyncio

from server.cli.environment import echo_entry


class ConversationClock:
    """Call it with who says what; each phone that rings sets it to zero."""

    def __init__(self) -> None:
        self._began: float | None = None

    def __call__(self, who: str, what: str) -> None:
        """Print one line."""
        now = asyncio.get_running_loop().time()
        if self._began is None or (who, what) == ("phone", "rings"):
            self._began = now
        echo_entry(f"{now - self._began:6.2f} s  {who:<6}  ", what)
