"""Calls that are prepared while their phones ring: the session open, the greeting on the line.

    prepare ─ limit? ─▶ opening ─▶ warm ─ answered ─▶ take ─▶ whoever carries the call
                 │         │        │ ▲ │
                 ▼         ▼        │ │ └ nobody answers ─▶ drop ─▶ its tokens are wasted
              given up: answered    │ └─ too old: a fresh one is made beside it, and replaces it
              cold                  └──▶ failed: given up

A failure to prepare is no failure of the call. Everything ends in one `WarmUp` with its outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from agent.measures import MeasureSink, WarmUp, WarmWaste
from agent.record.models import Call, EndReason
from pipelines.call.run_call import RunningCall

# A prepared session that waits longer is made anew: Gemini ends connections after ten minutes.
WARM_FOR_SECS = 240.0

StartCall = Callable[[Call], RunningCall]
FindCall = Callable[[str], Awaitable[Call]]


@dataclass(eq=False, slots=True)
class _Warm:
    """One call that rings; `running` is None until it is prepared, and when that was given up."""

    asked_for: bool = False
    running: RunningCall | None = None
    began: float = 0.0
    keeping: asyncio.Task[None] | None = None
    # The first words are ready, or never will be.
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Prewarming:
    """The calls that one process prepares, at most `limit` sessions at a time."""

    def __init__(
        self,
        start: StartCall,
        find: FindCall,
        *,
        limit: int,
        measure: MeasureSink,
        for_secs: float = WARM_FOR_SECS,
    ) -> None:
        """`find` reads a call's record; `start` starts its pipeline."""
        self._start = start
        self._find = find
        self._limit = limit
        self._measure = measure
        self._for_secs = for_secs
        self._calls: dict[str, _Warm] = {}
        self._opening = 0
        # What runs for phones that ring, with when it began; and what is being ended.
        self._running: dict[RunningCall, float] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """How many sessions are open, or being opened, for phones that ring."""
        return self._opening + len(self._running)

    async def prepare(self, call_id: str, known: Call | None = None) -> None:
        """Start the call's pipeline, if there is room; its first stream may `take` it.

        `known` is the call's record, where it need not be read: the stream of an incoming call is
        there some milliseconds later.
        """
        warm = self._of(call_id)
        if warm.asked_for or self._closed:
            return
        warm.asked_for = True
        if self.open >= self._limit:
            self._give_up(warm, "limit")
            return
        self._opening += 1
        try:
            call = known or await self._find(call_id)
        except BaseException:
            self._give_up(warm, "failed_record")
            raise
        finally:
            self._opening -= 1
        # Meanwhile it may have been answered, or be over.
        if self._calls.get(call_id) is not warm:
            return
        try:
            warm.running = self._begin(call)
        except Exception:
            self._give_up(warm, "failed_system")
            raise
        warm.keeping = asyncio.create_task(self._keep(call, warm), name=f"warm-{call_id}")

    def take(self, call_id: str) -> RunningCall | None:
        """The pipeline of a call that is answered now; None when nothing is prepared."""
        warm = self._calls.pop(call_id, None)
        if warm is not None:
            self._let_go(warm)
            if warm.running is not None and warm.running.is_over:
                self._end(warm.running, None)  # this very moment: nobody has noticed yet
                warm.running = None
        if warm is None or warm.running is None:
            self._measure(WarmUp("cold", 0.0))
            return None
        began = self._running.pop(warm.running)
        outcome = "used" if warm.running.is_prepared else "joined"
        self._measure(WarmUp(outcome, _now() - began))
        return warm.running

    async def until_settled(self, call_id: str) -> None:
        """Wait until the call's first words are ready, or it is known that they never will be."""
        await self._of(call_id).settled.wait()

    async def drop(self, call_id: str) -> None:
        """Nobody answers this call any more."""
        await self._drop(call_id, "released")

    async def close(self) -> None:
        """Prepare nothing any more, and leave no session behind."""
        self._closed = True
        await asyncio.gather(*(self._drop(call_id, "stopped") for call_id in list(self._calls)))
        while self._ending:
            await asyncio.wait(self._ending)

    async def _drop(self, call_id: str, outcome: str) -> None:
        warm = self._calls.pop(call_id, None)
        if warm is None:
            return
        keeping = self._let_go(warm)
        if keeping is not None:
            await asyncio.wait({keeping})
        if warm.running is not None:
            await asyncio.shield(self._end(warm.running, outcome))

    def _of(self, call_id: str) -> _Warm:
        return self._calls.setdefault(call_id, _Warm())

    def _let_go(self, warm: _Warm) -> asyncio.Task[None] | None:
        """Nobody keeps it any more: it belongs to who asked for it. Returns the task that did."""
        warm.settled.set()
        keeping, warm.keeping = warm.keeping, None
        if keeping is not None:
            keeping.cancel()
        return keeping

    def _give_up(self, warm: _Warm, outcome: str) -> None:
        warm.settled.set()
        self._measure(WarmUp(outcome, 0.0))

    def _begin(self, call: Call) -> RunningCall:
        running = self._start(call)
        self._running[running] = _now()
        return running

    def _end(self, running: RunningCall, outcome: str | None) -> asyncio.Task[None]:
        """End what nobody will talk to; a session counts as open until it is closed.

        `outcome` None: it ended by itself, and says why.
        """
        ending = asyncio.create_task(self._waste(running, outcome), name="warm-end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _waste(self, running: RunningCall, outcome: str | None) -> None:
        outcome = outcome or await _failure(running)
        lasted = _now() - self._running[running]
        try:
            await running.end()
        except Exception:
            logger.exception("What was prepared for a call could not be ended")
        finally:
            del self._running[running]
            self._measure(WarmUp(outcome, lasted))
            for (direction, modality), tokens in running.tokens.items():
                self._measure(WarmWaste(direction, modality, tokens))

    async def _keep(self, call: Call, warm: _Warm) -> None:
        """Watch over what is prepared, until somebody takes it: it may fail, or grow too old."""
        with logger.contextualize(call_id=call.id):
            try:
                while (running := warm.running) is not None:
                    failed = await _fails_before(running.prepared(), running)
                    warm.settled.set()
                    if failed is None:
                        failed = await _fails_within(self._for_secs, running)
                    if failed is None:
                        await self._renew(call, warm, running)
                    else:
                        # Whoever answers the phone finds nothing prepared, and no harm.
                        warm.running = None
                        self._end(running, failed)
            except Exception:
                logger.exception("A call is prepared no more than it was")

    async def _renew(self, call: Call, warm: _Warm, old: RunningCall) -> None:
        """Make a fresh one, and keep the old one until it is ready, if there is room for both."""
        if self.open >= self._limit:
            warm.running = None
            await asyncio.shield(self._end(old, "too_old"))
            if self.open < self._limit:
                warm.running = self._begin(call)
            return
        fresh = self._begin(call)
        try:
            failed = await _fails_before(fresh.prepared(), fresh)
        except asyncio.CancelledError:
            self._end(fresh, "spare")
            raise
        if failed is not None:
            self._end(fresh, failed)
            return
        warm.running = fresh
        self._end(old, "too_old")


async def _fails_before(moment: Coroutine[Any, Any, None], running: RunningCall) -> str | None:
    """The outcome of a pipeline that ends by itself before this moment; None when it does not."""
    failed, reached = asyncio.create_task(_failure(running)), asyncio.create_task(moment)
    try:
        await asyncio.wait({failed, reached}, return_when=asyncio.FIRST_COMPLETED)
        return failed.result() if failed.done() else None
    finally:
        failed.cancel()
        reached.cancel()


async def _fails_within(secs: float, running: RunningCall) -> str | None:
    """The same for a moment that comes after so long."""
    try:
        async with asyncio.timeout(secs):
            return await _failure(running)
    except TimeoutError:
        return None


async def _failure(running: RunningCall) -> str:
    """Wait for a pipeline to end by itself; the outcome that this is."""
    try:
        summary = await running.ended()
    except Exception:
        logger.exception("The pipeline of a call failed")
        return f"failed_{EndReason.SYSTEM.value}"
    logger.warning("A call could not be prepared", error=summary.error)
    return f"failed_{(summary.reason or EndReason.SYSTEM).value}"


def _now() -> float:
    return asyncio.get_running_loop().time()
