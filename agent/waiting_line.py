"""WaitingLine: the callers who wait for a free place, in the order in which they came.

In Redis when several instances share it (`waiting_line_in_redis.py`), in memory when there is one.
A caller who does not ask again is forgotten. All of it may be lost: who asks then is the last.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

# A caller asks again every few seconds; whoever has not for so long has hung up.
FORGOTTEN_AFTER_SECS = 20.0


@dataclass(frozen=True, slots=True)
class LinePlace:
    """Where a caller stands: how many came before, and how many seconds they have waited."""

    ahead: int
    waited_secs: float


class WaitingLine(Protocol):
    """Callers by their CallSid."""

    async def stand(self, call_sid: str) -> LinePlace:
        """Join the line at its end, or go on waiting where the caller stands."""
        ...

    async def leave(self, call_sid: str) -> float | None:
        """Wait no more; returns the seconds that the caller has waited, None if they did not."""
        ...


class WaitingLineInMemory:
    """For one instance: lost when the process ends."""

    def __init__(self) -> None:
        # In the order in which they came: the loop's time of the first and of the last request.
        self._callers: dict[str, tuple[float, float]] = {}

    async def stand(self, call_sid: str) -> LinePlace:
        """As `WaitingLine.stand`."""
        now = asyncio.get_running_loop().time()
        forgotten = now - FORGOTTEN_AFTER_SECS
        self._callers = {sid: at for sid, at in self._callers.items() if at[1] > forgotten}
        came, _ = self._callers.get(call_sid, (now, now))
        self._callers[call_sid] = came, now
        return LinePlace(list(self._callers).index(call_sid), now - came)

    async def leave(self, call_sid: str) -> float | None:
        """As `WaitingLine.leave`."""
        waited = self._callers.pop(call_sid, None)
        return None if waited is None else asyncio.get_running_loop().time() - waited[0]
