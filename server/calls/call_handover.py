"""CallHandover: has other instances know enough of each call to go on with it.

    a turn was heard, a reply made ──▶ due ─┐
    every second ───────────────────────────┴▶ what changed ──▶ encrypted, one round trip ──▶ Redis
    a stream comes to an instance that does not carry its call ──▶ recall ──▶ a pipeline

Nothing of it is on the path of a packet. While Redis is away calls go on; those of an instance that
is killed then begin anew.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from loguru import logger

from agent.call_memory import CallMemories, CallMemory
from agent.record.models import Call
from pipelines.call.run_call import RunningCall
from server.calls.bounded_waits import within

EVERY_SECS = 1.0
# The caller hears nothing meanwhile; one who has talked before would be greeted again otherwise.
RECALLED_WITHIN_SECS = 0.25
RECALLED_AGAIN_WITHIN_SECS = 2.0

Continue = Callable[[Call, CallMemory], RunningCall]


class CallHandover:
    """The memories of the calls that run here. `leases` gives each call's fencing number.

    `count` hears how another instance left a call that goes on here: at a "quiet" moment,
    "hurried", or it was "lost" without a word.
    """

    def __init__(
        self,
        memories: CallMemories,
        continue_call: Continue,
        leases: Callable[[], Mapping[str, int]],
        count: Callable[[str], None] = lambda _: None,
        *,
        every_secs: float = EVERY_SECS,
    ) -> None:
        self._memories = memories
        self._continue = continue_call
        self._leases = leases
        self._count = count
        self._every_secs = every_secs
        self._running: dict[str, RunningCall] = {}
        self._kept: dict[str, CallMemory] = {}
        self._due: set[str] = set()
        self._is_due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # One after the other, so that the last memory of a call is kept last.
        self._keeping = asyncio.Lock()
        # It could not be kept last time; that is logged once.
        self._failing = False

    def open(self) -> None:
        """Begin to keep memories."""
        self._task = asyncio.create_task(self._keep_all(), name="call-handover")

    async def close(self) -> None:
        """Keep what is known of every call, and stop; this process still records what it heard."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await self._keep(list(self._running), recorded=True)

    def watch(self, call_id: str, running: RunningCall) -> None:
        """Keep the memory of this call from now on, until it is over."""
        self._running[call_id] = running
        running.on_news(partial(self._is_news, call_id))

    async def recall(self, call: Call) -> RunningCall | None:
        """The pipeline that goes on with a call of another instance; None: it begins here."""
        try:
            async with within(_recalled_within(call)):
                memory = await self._memories.recall(call.id)
        except Exception as error:
            logger.bind(error=type(error).__name__).error("The memory of a call cannot be had")
            return None
        if memory is None:
            return None
        how = "quiet" if memory.quiet else "hurried" if memory.recorded else "lost"
        logger.info(
            "A call of another instance goes on here", resumes=memory.handle is not None, how=how
        )
        self._count(how)
        return self._continue(call, memory)

    async def drop(self, call_id: str, *, is_over: bool) -> None:
        """The call runs here no more; `is_over`: nor anywhere else."""
        self._running.pop(call_id, None)
        self._kept.pop(call_id, None)
        self._due.discard(call_id)
        if is_over:
            # Behind what is being kept: otherwise it would be there again.
            async with self._keeping:
                await self._quietly(self._memories.forget(call_id))

    def take(self, call_id: str, *, quiet: bool) -> CallMemory | None:
        """The memory of this very moment, which is the last one; `quiet`: nothing breaks off.

        None when there is nothing to remember.
        """
        memory = self._memory_of(call_id)
        self._running.pop(call_id, None)
        return None if memory is None else replace(memory, recorded=True, quiet=quiet)

    async def keep(self, call_id: str, memory: CallMemory) -> None:
        """Keep a memory that was taken."""
        async with self._keeping:
            fence = self._leases().get(call_id, 0)
            await self._quietly(self._memories.keep({call_id: (fence, memory)}))

    def _is_news(self, call_id: str) -> None:
        self._due.add(call_id)
        self._is_due.set()

    async def _keep_all(self) -> None:
        loop = asyncio.get_running_loop()
        everything_at = loop.time() + self._every_secs
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(everything_at):
                    await self._is_due.wait()
            self._is_due.clear()
            due, self._due = self._due, set()
            if loop.time() >= everything_at:
                due = set(self._running)
                everything_at = loop.time() + self._every_secs
            await self._keep(due)

    async def _keep(self, call_ids: Iterable[str], *, recorded: bool = False) -> None:
        leases = self._leases()
        changed: dict[str, tuple[int, CallMemory]] = {}
        for call_id in call_ids:
            memory = self._memory_of(call_id)
            if memory is not None and recorded:
                memory = replace(memory, recorded=True)
            if memory is not None and memory != self._kept.get(call_id):
                changed[call_id] = leases.get(call_id, 0), memory
            await asyncio.sleep(0)  # calls have their turn in between
        async with self._keeping:
            # What was taken meanwhile is newer.
            changed = {each: kept for each, kept in changed.items() if each in self._running}
            if not changed or not await self._quietly(self._memories.keep(changed)):
                return
        for call_id, (_, memory) in changed.items():
            if call_id in self._running:
                self._kept[call_id] = memory

    def _memory_of(self, call_id: str) -> CallMemory | None:
        running = self._running.get(call_id)
        if running is None or running.is_over:
            return None
        try:
            return running.memory()
        except Exception:
            # One call's trouble is not that of all others.
            logger.exception("What is known of a call cannot be told")
            return None

    async def _quietly(self, noting: Awaitable[None]) -> bool:
        try:
            await noting
        except Exception as error:
            if not self._failing:
                logger.bind(error=type(error).__name__).error("The memory of calls cannot be kept")
            self._failing = True
            return False
        self._failing = False
        return True


def _recalled_within(call: Call) -> float:
    """How long the memory of a call is waited for, in seconds."""
    had_stream = call.life.get("stream_sid") or call.life.get("last_stream_sid")
    return max(RECALLED_WITHIN_SECS, RECALLED_AGAIN_WITHIN_SECS if had_stream else 0.0)
