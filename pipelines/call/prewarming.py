"""Prewarming: starts the pipelines of ringing calls, so that session and greeting are ready.

    prepare ─ limit? ─▶ opening ─▶ warm ─ answered ─▶ take ─▶ the call registry
                 │         │        │ ▲ │
                 ▼         ▼        │ │ └ nobody answers ─▶ drop ─▶ WarmWaste: its tokens
              given up: answered    │ └─ too old: replaced by a fresh one
              cold                  ├──▶ failed: given up
                                    └──▶ no model: kept, so that who answers is told at once

When prewarming fails in another way, the call starts cold. Each ends in one `WarmUp` with its
outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from agent.measures import MeasureSink, WarmUp, WarmWaste
from agent.record.models import Call, EndReason
from pipelines.call.run_call import RunningCall

# A prepared session is replaced after this time: Gemini ends connections after ten minutes.
WARM_FOR_SECS = 240.0

_NO_MODEL = f"failed_{EndReason.NO_MODEL.value}"

StartCall = Callable[[Call], RunningCall]
FindCall = Callable[[str], Awaitable[Call]]


@dataclass(eq=False, slots=True)
class _RingingCall:
    """One ringing call; `running` is None before it is started, and after it was given up."""

    asked_for: bool = False
    running: RunningCall | None = None
    began: float = 0.0
    keeping: asyncio.Task[None] | None = None
    # The greeting is ready, or never will be.
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Prewarming:
    """The prewarmed calls of one process, at most `limit` sessions at a time."""

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
        self._calls: dict[str, _RingingCall] = {}
        self._opening = 0
        # Pipelines of ringing calls, with their start times; and tasks that end such pipelines.
        self._running: dict[RunningCall, float] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """How many sessions are open, or being opened, for ringing calls."""
        return self._opening + sum(not running.has_no_model for running in self._running)

    async def prepare(self, call_id: str, known: Call | None = None) -> None:
        """Start the call's pipeline within the limit; its first stream may `take` it.

        `known` is the call's record where it need not be read: the stream of an incoming call
        comes within milliseconds.
        """
        ringing = self._of(call_id)
        if ringing.asked_for or self._closed:
            return
        ringing.asked_for = True
        if self.open >= self._limit:
            self._give_up(ringing, "limit")
            return
        self._opening += 1
        try:
            call = known or await self._find(call_id)
        except BaseException:
            self._give_up(ringing, "failed_record")
            raise
        finally:
            self._opening -= 1
        # Meanwhile the call may have been answered, or have ended.
        if self._calls.get(call_id) is not ringing:
            return
        try:
            ringing.running = self._begin(call)
        except Exception:
            self._give_up(ringing, "failed_system")
            raise
        ringing.keeping = asyncio.create_task(self._keep(call, ringing), name=f"ringing-{call_id}")

    def adopt(self, call: Call, running: RunningCall) -> None:
        """Watch over a pipeline that was started before the call came in."""
        ringing = self._of(call.id)
        ringing.asked_for = True
        ringing.running = running
        self._running[running] = _now()
        ringing.keeping = asyncio.create_task(self._keep(call, ringing), name=f"ringing-{call.id}")

    def take(self, call_id: str) -> RunningCall | None:
        """Hand over the pipeline of a call that was answered; None when nothing is prepared.

        One that found no model is over. Another attempt would keep the callee waiting.
        """
        ringing = self._calls.pop(call_id, None)
        running = None
        if ringing is not None:
            self._let_go(ringing)
            running = ringing.running
        if running is not None and running.is_over and not running.has_no_model:
            self._end(running, None)  # just now: `_keep` has not noticed yet
            running = None
        if running is None:
            self._measure(WarmUp("cold", 0.0))
            return None
        began = self._running.pop(running)
        ready = "used" if running.is_prepared else "joined"
        outcome = _NO_MODEL if running.has_no_model else ready
        self._measure(WarmUp(outcome, _now() - began))
        return running

    async def until_settled(self, call_id: str) -> None:
        """Wait until the call's greeting is ready, or is known to never be."""
        await self._of(call_id).settled.wait()

    async def drop(self, call_id: str) -> None:
        """End what was prepared: nobody answered the call."""
        await self._drop(call_id, "released")

    async def close(self) -> None:
        """Prepare no more calls, and end all that were prepared."""
        self._closed = True
        await asyncio.gather(*(self._drop(call_id, "stopped") for call_id in list(self._calls)))
        while self._ending:
            await asyncio.wait(self._ending)

    async def _drop(self, call_id: str, outcome: str) -> None:
        ringing = self._calls.pop(call_id, None)
        if ringing is None:
            return
        keeping = self._let_go(ringing)
        if keeping is not None:
            await asyncio.wait({keeping})
        if ringing.running is not None:
            await asyncio.shield(self._end(ringing.running, outcome))

    def _of(self, call_id: str) -> _RingingCall:
        return self._calls.setdefault(call_id, _RingingCall())

    def _let_go(self, ringing: _RingingCall) -> asyncio.Task[None] | None:
        """Stop watching over the call; return the task that did, which is cancelled."""
        ringing.settled.set()
        keeping, ringing.keeping = ringing.keeping, None
        if keeping is not None:
            keeping.cancel()
        return keeping

    def _give_up(self, ringing: _RingingCall, outcome: str) -> None:
        ringing.settled.set()
        self._measure(WarmUp(outcome, 0.0))

    def _begin(self, call: Call) -> RunningCall:
        running = self._start(call)
        self._running[running] = _now()
        return running

    def _end(self, running: RunningCall, outcome: str | None) -> asyncio.Task[None]:
        """End an unused pipeline; its session counts as open until it is closed.

        `outcome` None: the pipeline ended by itself and gives the reason.
        """
        ending = asyncio.create_task(self._discard(running, outcome), name="ringing-end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _discard(self, running: RunningCall, outcome: str | None) -> None:
        if outcome is None or running.has_no_model:
            outcome = await _failure(running)
        lasted = _now() - self._running[running]
        try:
            await running.end()
        except Exception:
            logger.exception("A prewarmed pipeline could not be ended")
        finally:
            del self._running[running]
            self._measure(WarmUp(outcome, lasted))
            for (direction, modality), tokens in running.tokens.items():
                self._measure(WarmWaste(direction, modality, tokens))

    async def _keep(self, call: Call, ringing: _RingingCall) -> None:
        """Watch over a prepared pipeline until it is taken: it may fail, or grow too old."""
        with logger.contextualize(call_id=call.id):
            try:
                while (running := ringing.running) is not None:
                    failed = await _fails_before(running.prepared(), running)
                    ringing.settled.set()
                    if failed is None:
                        failed = await _fails_within(self._for_secs, running)
                    if failed is None:
                        await self._renew(call, ringing, running)
                    elif running.has_no_model:
                        return
                    else:
                        # The call starts cold when it is answered.
                        ringing.running = None
                        self._end(running, failed)
            except Exception:
                logger.exception("Prewarming a call failed")

    async def _renew(self, call: Call, ringing: _RingingCall, old: RunningCall) -> None:
        """Replace a pipeline by a fresh one, once that is ready if there is room for both."""
        if self.open >= self._limit:
            ringing.running = None
            await asyncio.shield(self._end(old, "too_old"))
            if self.open < self._limit:
                ringing.running = self._begin(call)
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
        ringing.running = fresh
        self._end(old, "too_old")


async def _fails_before(wait: Coroutine[Any, Any, None], running: RunningCall) -> str | None:
    """The outcome of a pipeline that ends before `wait` returns; None when it does not."""
    failed, reached = asyncio.create_task(_failure(running)), asyncio.create_task(wait)
    try:
        await asyncio.wait({failed, reached}, return_when=asyncio.FIRST_COMPLETED)
        return failed.result() if failed.done() else None
    finally:
        failed.cancel()
        reached.cancel()


async def _fails_within(secs: float, running: RunningCall) -> str | None:
    """The outcome of a pipeline that ends within `secs`; None when it does not."""
    try:
        async with asyncio.timeout(secs):
            return await _failure(running)
    except TimeoutError:
        return None


async def _failure(running: RunningCall) -> str:
    """Wait for a pipeline to end by itself; return the outcome to report."""
    try:
        summary = await running.ended()
    except Exception:
        logger.exception("The pipeline of a call failed")
        return f"failed_{EndReason.SYSTEM.value}"
    logger.warning("A call could not be prepared", error=summary.error)
    return f"failed_{(summary.reason or EndReason.SYSTEM).value}"


def _now() -> float:
    return asyncio.get_running_loop().time()
