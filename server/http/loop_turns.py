"""TurnQueue: spreads work that arrives together over the turns of the event loop.

    turn   1        2        3
    work   a b c d  e f g h  i
           └ media streams are served between two turns

However much arrives together, a live call waits for a few pieces of it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# Does it; returns False when it was not needed any more, and cost nothing.
Work = Callable[[], bool]


class TurnQueue:
    """Does at most `each_turn` pieces of work in a turn; the others wait in order."""

    def __init__(self, each_turn: int) -> None:
        self._each_turn = each_turn
        self._done = 0
        self._waiting: deque[Work] = deque()

    def do(self, work: Work) -> None:
        """Do this work at once when the turn has room for it, and otherwise when it has."""
        if self._waiting or self._done >= self._each_turn:
            self._waiting.append(work)
            return
        if not self._done:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._done += 1
        work()

    def _next_turn(self) -> None:
        self._done = 0
        try:
            while self._waiting and self._done < self._each_turn:
                self._done += self._waiting.popleft()()
        finally:
            # Work that fails does not keep the others waiting.
            if self._done or self._waiting:
                asyncio.get_running_loop().call_soon(self._next_turn)
