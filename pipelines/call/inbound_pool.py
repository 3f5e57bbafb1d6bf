"""InboundPool: calls that are started before anybody calls, so that the first word is there.

For each number, `size` pipelines run with their greeting generated. The call that comes in takes
one, with the id that was made for it; another one is started in its place.

    start ─▶ ready ─ a call comes in ─▶ taken ─▶ Prewarming, as if it had rung
               ├─ too old ─▶ replaced        its tokens are counted as waste
               └─ failed ──▶ tried again, later and later
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from loguru import logger

from agent.measures import MeasureSink, WarmUp, WarmWaste
from agent.record.models import Call
from pipelines.call.held_record import HeldRecord
from pipelines.call.run_call import RunningCall

# Gemini ends connections after ten minutes; a greeting is generated anew before that.
FOR_SECS = 240.0
FIRST_PAUSE_SECS = 1.0
LONGEST_PAUSE_SECS = 60.0


@dataclass(eq=False, slots=True)
class PooledCall:
    """A call that nobody has made yet. `record` is held until the call has a record."""

    call: Call
    running: RunningCall
    record: HeldRecord
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())


StartPooled = Callable[[str], PooledCall]


class InboundPool:
    """The pooled calls of one process, by the number that they wait at."""

    def __init__(
        self,
        start: StartPooled,
        numbers: Iterable[str],
        *,
        size: int,
        measure: MeasureSink,
        for_secs: float = FOR_SECS,
    ) -> None:
        """`start` starts a call for a number."""
        self._start = start
        self._numbers = tuple(numbers)
        self._size = size
        self._measure = measure
        self._for_secs = for_secs
        self._ready: defaultdict[str, list[PooledCall]] = defaultdict(list)
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many pooled calls there are."""
        return sum(map(len, self._ready.values()))

    def fill(self) -> None:
        """Start the calls of every number."""
        for number in self._numbers:
            for _ in range(self._size):
                self._keep_later(number)

    def take(self, number: str) -> PooledCall | None:
        """The oldest call that is ready for a number; another one is started in its place."""
        ready = self._ready.get(number, [])
        taken = next((each for each in ready if each.running.is_prepared), None)
        if taken is None or taken.running.is_over:
            return None
        ready.remove(taken)
        return taken

    async def close(self) -> None:
        """End all that nobody has taken."""
        for keeping in self._keeping:
            keeping.cancel()
        while self._keeping:
            await asyncio.wait(self._keeping)

    def _keep_later(self, number: str) -> None:
        keeping = asyncio.create_task(self._keep(number), name="inbound pool")
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)

    async def _keep(self, number: str) -> None:
        """Keep one call ready for a number, for ever."""
        pause = FIRST_PAUSE_SECS
        while True:
            try:
                failed = await self._keep_one(number)
            except Exception:
                logger.exception("A pooled call failed")
                failed = True
            pause = min(pause * 2, LONGEST_PAUSE_SECS) if failed else FIRST_PAUSE_SECS
            if failed:
                await asyncio.sleep(pause)

    async def _keep_one(self, number: str) -> bool:
        """Keep a call until it is taken, too old, or failed; returns whether it failed."""
        pooled = self._start(number)
        self._ready[number].append(pooled)
        try:
            return await self._lasts(pooled)
        finally:
            if pooled in self._ready[number]:
                self._ready[number].remove(pooled)
                await asyncio.shield(self._waste(pooled))

    async def _lasts(self, pooled: PooledCall) -> bool:
        """Wait until a call is taken, too old, or failed; returns whether it failed."""
        ended = asyncio.create_task(pooled.running.ended(), name="pooled call")
        try:
            left_secs = self._for_secs
            while left_secs > 0 and pooled in self._ready[pooled.call.our_number]:
                await asyncio.wait({ended}, timeout=min(LOOKS_EVERY_SECS, left_secs))
                left_secs -= LOOKS_EVERY_SECS
                if ended.done():
                    logger.warning("A pooled call could not be prepared")
                    return pooled in self._ready[pooled.call.our_number]
            return False
        finally:
            ended.cancel()

    async def _waste(self, pooled: PooledCall) -> None:
        lasted = asyncio.get_running_loop().time() - pooled.began
        await pooled.running.end()
        self._measure(WarmUp("pool_unused", lasted))
        for (direction, modality), tokens in pooled.running.tokens.items():
            self._measure(WarmWaste(direction, modality, tokens))


# How soon a call is started in the place of one that was taken.
LOOKS_EVERY_SECS = 0.25
