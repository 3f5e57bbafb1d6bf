"""UntoldOutbox: events of calls whose workflows cannot be told now, kept in the record's database.

While the database is away, too, they wait in memory, behind those that are kept already.
"""

from collections.abc import Awaitable, Callable, Sequence

from loguru import logger

from agent.lifecycle.told import Told
from agent.record.call_log import CallLog, DatabaseUnavailable, NoSuchCall

_AT_A_TIME = 500

Deliver = Callable[[str, Sequence[Told]], Awaitable[None]]


class UntoldOutbox:
    """Keeps events in order, until `deliver` has taken all."""

    def __init__(self, call_log: CallLog) -> None:
        self._call_log = call_log
        self._in_memory: list[tuple[str, Told]] = []
        # Calls of this process whose later events have to wait behind earlier ones.
        self._behind: set[str] = set()
        # What an earlier process has left is unknown until the first delivery.
        self._looked = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to wait."""
        return self._looked and not self._behind and not self._in_memory

    def holds(self, call_id: str) -> bool:
        """Whether events of this call wait."""
        return call_id in self._behind

    async def keep(self, call_id: str, told: Sequence[Told]) -> None:
        """Keep events of a call; those of one that was erased are dropped."""
        self._behind.add(call_id)
        waiting = [*self._in_memory, *((call_id, one) for one in told)]
        self._in_memory = []
        while waiting:
            owner, one = waiting[0]
            try:
                await self._call_log.keep_untold(owner, [one])
            except NoSuchCall:
                logger.debug("An event was dropped: its call was erased")
            except DatabaseUnavailable:
                self._in_memory = waiting + self._in_memory
                return
            del waiting[0]

    async def deliver(self, tell: Deliver) -> None:
        """Tell all that waits, oldest first. Raises what `tell` raises; the rest waits on."""
        while kept := await self._call_log.untold(_AT_A_TIME):
            for event in kept:
                await tell(event.call_id, [Told(event.told_id, event.event)])
                await self._call_log.forget_untold([event.id or 0])
        while self._in_memory:
            call_id, one = self._in_memory[0]
            await tell(call_id, [one])
            del self._in_memory[0]
        self._looked = True
        self._behind.clear()
