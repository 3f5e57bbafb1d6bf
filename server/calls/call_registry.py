"""CallRegistry: the calls that this instance carries, and the pipeline of each.

    place / inbound ─ reserve ─▶ held ─ warm ─▶ prepared ─ first stream ─▶ talking ─ end ─▶ free
                                   └──────────────┴─── release (nobody answered) ──────────▶ free

With prewarming, the whole pipeline runs while the phone rings; otherwise it starts with the first
stream. It outlives its streams: the next stream of a call is bound to the same line. When a
conversation is over, the lifecycle is told before the stream closes, so that Twilio, which then
asks for TwiML, gets the right answer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from loguru import logger

from agent.clock import Clock
from agent.lifecycle.events import ConversationEnded, Event, InstanceStopped
from agent.live_calls import LiveCalls
from agent.ports import CallLifecycle
from agent.record.models import Call, EndReason
from pipelines.call.prewarming import Prewarming, StartCall
from pipelines.call.run_call import CallSummary, RunningCall
from pipelines.phone.phone_line import MediaStream, PhoneLine
from server.calls.admission import Places, noted
from server.calls.bounded_waits import within
from server.calls.call_handover import CallHandover
from server.calls.leases import Leases
from server.calls.quiet_moment import quiet_moment

# Limit of expected streams; some go to other instances.
EXPECTED_AT_MOST = 2000
TELL_TIMEOUT_SECS = 2.0
# What is left when this process stops moves when neither side speaks, or after this time.
QUIET_WITHIN_SECS = 5.0
# How long the instances that share a Redis are told of a call that is let go: its caller hears
# nothing meanwhile.
LET_GO_WITHIN_SECS = 2.0
# So long the next stream of a call that was let go is not taken back.
LET_GO_FOR_SECS = 15.0
# How long a place is kept for a call that another instance lets go of.
TAKEN_WITHIN_SECS = 30.0


class ConversationOver(Exception):
    """The conversation has ended, so the call takes no stream any more."""


class _ActiveCall:
    """One running pipeline, and its current stream."""

    def __init__(self, running: RunningCall) -> None:
        self.running = running
        self.stream: MediaStream | None = None
        # It takes no stream any more; the pipeline is ending, or was ended from outside.
        self.over = False
        self.finished = asyncio.Event()
        self.watch: asyncio.Task[None] | None = None
        self.claiming: asyncio.Task[None] | None = None
        # Another instance has taken the call, or is to take it.
        self.lost = False
        # A moment to let go of it is waited for; done when it is let go, or stays.
        self.leaving: asyncio.Future[None] | None = None


class CallRegistry:
    """`CallMedia` of this instance: carries the calls that have one of its `places`.

    A stream of a call that was answered already is always accepted: it was counted elsewhere.
    """

    def __init__(
        self,
        start: StartCall,
        live_calls: LiveCalls,
        places: Places,
        *,
        clock: Clock,
        prewarming: Prewarming | None = None,
        handover: CallHandover | None = None,
        leases: Leases | None = None,
        holds: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`prewarming` None: pipelines start when the phone is answered.

        `handover` None: no other instance goes on with a call of this one. `leases` is filled with
        the fencing numbers of the calls that are carried. `holds`: whether a call is still this
        instance's; an end that comes while it is not is nobody's business.
        """
        self.places = places
        self.instance = places.instance
        self._holds = holds
        self._handover = handover
        self._start = start
        self._prewarming = prewarming
        self._clock = clock
        self._live_calls = live_calls
        self._active: dict[str, _ActiveCall] = {}
        # The records of live calls whose next stream is on its way.
        self._expected: dict[str, Call] = {}
        # The fencing numbers of the calls that are carried here.
        self.leases = Leases() if leases is None else leases
        self._life: CallLifecycle | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._closing = False
        # Calls carried here, and the newest stream of each that another instance passes on.
        self._passed_on: dict[str, str] = {}
        # This process stops, and has said so of each call: their next streams belong elsewhere.
        self._stopping = False
        # It stops now: no moment is waited for.
        self.hurries = False
        # Calls that were let go, and the loop's time until which they are not taken back.
        self._let_go: dict[str, float] = {}

    def report_to(self, life: CallLifecycle) -> None:
        """Report every conversation that ends to this lifecycle."""
        self._life = life

    @property
    def carried(self) -> list[str]:
        """The ids of the calls whose pipelines run here and were answered."""
        return list(self._active)

    @property
    def talking(self) -> int:
        """How many conversations are running."""
        return len(self._active)

    def packets_passed_on(self) -> dict[str, int]:
        """The packets so far of each call whose stream another instance passes on to this one."""
        return {
            call_id: active.running.line.packets_received
            for call_id, active in self._active.items()
            if call_id in self._passed_on and not active.over
        }

    @contextmanager
    def passed_on(self, call_id: str, stream_sid: str) -> Iterator[None]:
        """Another instance passes this stream on, for as long as the context is open."""
        self._passed_on[call_id] = stream_sid
        try:
            yield
        finally:
            # The stream that follows is there before this one has ended.
            if self._passed_on.get(call_id) == stream_sid:
                del self._passed_on[call_id]

    def running(self, call_id: str) -> RunningCall | None:
        """The pipeline of a conversation that goes on here."""
        active = self._active.get(call_id)
        return None if active is None or active.over else active.running

    def adopt(self, call: Call, running: RunningCall) -> None:
        """Give a call that has a place the pipeline that was started for it."""
        if self._prewarming is not None:
            self._prewarming.adopt(call, running)

    async def warm(self, call_id: str) -> None:
        """Hold a place while the phone rings, and prewarm the call."""
        known = self.places.hold(call_id)
        if self._prewarming is not None and call_id not in self._active:
            await self._prewarming.prepare(call_id, known)

    async def until_prepared(self, call_id: str, timeout_secs: float) -> None:
        """Wait until the call's greeting is ready or known to fail, at most `timeout_secs`."""
        waits = timeout_secs > 0 and call_id in self.places and call_id not in self._active
        if self._prewarming is None or not waits:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_secs):
                await self._prewarming.until_settled(call_id)

    async def release(self, call_id: str) -> None:
        """Nobody answered: free the place, and end the prewarmed pipeline."""
        await self._finish(call_id)

    async def end(self, call_id: str, reason: EndReason) -> None:
        """Stop the pipeline: the call is over or must end now."""
        await self._finish(call_id)

    def expect(self, call: Call) -> None:
        """Remember the record of a call whose stream comes next, to save reading it then."""
        self._expected[call.id] = call
        while len(self._expected) > EXPECTED_AT_MOST:
            del self._expected[next(iter(self._expected))]  # its stream went to another instance

    def expected(self, call_id: str) -> Call | None:
        """The record of a live call whose stream is expected here."""
        return self._expected.get(call_id)

    def has(self, call_id: str) -> bool:
        """Whether the call runs here, or has a place; False once this process stops."""
        return not self._stopping and (call_id in self._active or call_id in self.places)

    async def carry(self, call: Call, stream: MediaStream) -> PhoneLine:
        """Bind `stream` to the call's line and return it; the first stream starts the pipeline.

        Raises: ConversationOver.
        """
        self._expected.pop(call.id, None)
        active = self._active.get(call.id)
        if active is not None and active.over:
            raise ConversationOver
        self._let_go.pop(call.id, None)
        if active is None:
            self.places.hold(call.id, call)
            # A millisecond before the first sound; without Redis, nothing.
            recalled = await self._recall(call)
            active = self._active.get(call.id)
            if active is None:
                active = self._begin(call, recalled)
            elif recalled is not None:
                self._soon(recalled.end())  # another stream came meanwhile
        previous, active.stream = active.stream, stream
        first = previous is None
        # The greeting goes out first; the lease is only for other instances.
        await active.running.line.bind(stream)
        if first:
            active.claiming = asyncio.create_task(self._claim(call.id))
        if previous is not None:
            await previous.close()
        return active.running.line

    async def until_reported(self, call_id: str) -> None:
        """Wait until a conversation that is ending was reported to the lifecycle."""
        active = self._active.get(call_id)
        if active is not None:
            await active.finished.wait()

    async def let_go(self, call_id: str, *, within_secs: float) -> bool:
        """Have another instance go on with a call, from a moment in which neither side speaks.

        After `within_secs`, it is let go anyhow. The pipeline ends without a word to the
        lifecycle, and its stream closes, so that Twilio asks for TwiML. False, and nothing is done,
        when the call is not carried here, ends meanwhile, or no other instance could go on.
        """
        active = self._active.get(call_id)
        if self._handover is None or active is None or active.over:
            return False
        if active.leaving is not None:
            # Somebody else is at it: it may be done in time.
            await asyncio.wait({active.leaving}, timeout=within_secs)
            return False
        active.leaving = leaving = asyncio.get_running_loop().create_future()
        try:
            return await self._let_go_of(call_id, active, self._handover, within_secs)
        finally:
            active.leaving = None
            leaving.set_result(None)

    async def _let_go_of(
        self, call_id: str, active: _ActiveCall, handover: CallHandover, within_secs: float
    ) -> bool:
        if active.claiming is not None:
            await active.claiming
        running = active.running
        quiet = await quiet_moment(running, within_secs, lambda: self.hurries)
        if active.over or running.is_over or running.line.stopped:
            return False
        # From here on, no sound of this instance's is heard.
        memory = handover.take(call_id, quiet=quiet)
        active.over = active.lost = True
        stream = active.stream
        if stream is not None:
            running.line.unbind(stream)
        logger.info("A call is let go", call_id=call_id, at_a_quiet_moment=quiet)
        if self._stopping:
            await self._tell(call_id, InstanceStopped(self._clock()))
        now = asyncio.get_running_loop().time()
        self._let_go = {known: until for known, until in self._let_go.items() if until > now}
        self._let_go[call_id] = now + LET_GO_FOR_SECS
        try:
            async with within(LET_GO_WITHIN_SECS):
                try:
                    if memory is not None:
                        await handover.keep(call_id, memory)
                finally:
                    self.places.free_place(call_id)
                    # Otherwise it is renewed until the pipeline has ended.
                    self.leases.end(call_id)
                # Nobody carries it for a moment: that Twilio fetches its TwiML is seen to here.
                await noted(self._live_calls.rescue(call_id))
                await noted(self._live_calls.release(call_id, self.instance))
        except TimeoutError:
            logger.error("Other instances could not be told of a call that is let go")
        if stream is not None:
            await stream.close()
        await self._finish(call_id)
        return True

    def has_let_go(self, call_id: str) -> bool:
        """Whether a call was let go a moment ago: its next stream belongs elsewhere."""
        return asyncio.get_running_loop().time() < self._let_go.get(call_id, 0.0)

    async def take_over(self, call: Call) -> bool:
        """Reserve a place for a call that another instance lets go of; False when there is none.

        It is free again when no stream of the call comes here.
        """
        if self._handover is None or not self.places.reserve(call):
            return False
        self._let_go.pop(call.id, None)
        await self.places.count(call.id)
        loop = asyncio.get_running_loop()
        loop.call_later(TAKEN_WITHIN_SECS, self._free_unless_carried, call.id)
        return True

    def _free_unless_carried(self, call_id: str) -> None:
        if call_id not in self._active:
            self.places.free_place(call_id)

    async def report_shutdown(self) -> int:
        """Let go of every call, and tell the lifecycle of those that are cut off.

        Other instances then know of these calls what is to know. Returns how many were let go.
        """
        self._stopping = True
        let_go = await asyncio.gather(
            *(self.let_go(call_id, within_secs=QUIET_WITHIN_SECS) for call_id in self.carried),
            return_exceptions=True,
        )
        for failed in let_go:
            if isinstance(failed, Exception):
                # One call's trouble is not that of all others.
                logger.opt(exception=failed).error("A call could not be let go")
        cut_off = [
            call_id
            for call_id, active in self._active.items()
            if not active.over and not active.running.line.stopped
        ]
        stopped = InstanceStopped(self._clock())
        await asyncio.gather(*(self._tell(call_id, stopped) for call_id in cut_off))
        if self._handover is not None:
            # Whoever gets the next streams goes on from here.
            await self._handover.close()
        return let_go.count(True)

    async def close(self) -> None:
        """End every pipeline; the calls themselves go on, for another process to carry."""
        self._closing = True
        if self._handover is not None:
            await self._handover.close()
        ending = [self._finish(call_id) for call_id in list(self._active)]
        if self._prewarming is not None:
            ending.append(self._prewarming.close())
        await asyncio.gather(*ending)
        self.places.close()
        for task in self._telling:
            task.cancel()

    def lose_soon(self, call_id: str) -> None:
        """Another instance has taken the call, as a thread has learnt."""
        self._soon(self._lose(call_id))

    def _soon(self, doing: Coroutine[Any, Any, None]) -> None:
        telling = asyncio.create_task(doing)
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _lose(self, call_id: str) -> None:
        """Another instance has taken the call: be silent, and stop without a word of it."""
        active = self._active.get(call_id)
        if active is None or active.over:
            return
        logger.warning("Another instance has taken a call", call_id=call_id)
        active.lost = True
        await self._finish(call_id)

    async def _recall(self, call: Call) -> RunningCall | None:
        recalled = None if self._handover is None else await self._handover.recall(call)
        if recalled is not None and self._prewarming is not None:
            # What was prepared would greet again.
            await self._prewarming.drop(call.id)
        return recalled

    def _begin(self, call: Call, recalled: RunningCall | None) -> _ActiveCall:
        prepared = recalled
        if prepared is None and self._prewarming is not None:
            prepared = self._prewarming.take(call.id)
        active = self._active[call.id] = _ActiveCall(prepared or self._start(call))
        self.leases.begin(call.id)
        if self._handover is not None:
            self._handover.watch(call.id, active.running)
        active.watch = asyncio.create_task(self._watch(call.id, active), name=f"active-{call.id}")
        return active

    async def _finish(self, call_id: str) -> None:
        had_place = self.places.free_place(call_id)
        self._expected.pop(call_id, None)
        if self._prewarming is not None:
            await self._prewarming.drop(call_id)
        active = self._active.get(call_id)
        if had_place and not self._closing and not (active is not None and active.lost):
            await self.places.count_no_more(call_id)
        if active is None:
            return
        active.over = True
        try:
            await active.running.end()
        finally:
            # `watch` is not awaited: it may be the current task.
            self._active.pop(call_id, None)
            if active.claiming is not None:
                await active.claiming
            self.leases.end(call_id)
            if self._handover is not None:
                is_over = not (active.lost or self._closing)
                await self._handover.drop(call_id, is_over=is_over)
            if not active.lost:
                await noted(self._live_calls.release(call_id, self.instance))

    async def _claim(self, call_id: str) -> None:
        async def claim() -> None:
            fence = await self._live_calls.claim(call_id, self.instance)
            self.leases.claimed(call_id, fence)

        await noted(claim())

    async def _watch(self, call_id: str, active: _ActiveCall) -> None:
        with logger.contextualize(call_id=call_id):
            try:
                summary = await active.running.ended()
            except Exception:
                logger.exception("The pipeline of a call failed")
                summary = CallSummary(EndReason.SYSTEM, None, "the pipeline failed")
            asked_to_end, active.over = active.over, True
            try:
                if not asked_to_end and not self._holds(call_id):
                    # This process was frozen: what became of the call, another one knows.
                    active.lost = True
                    self._soon(self._finish(call_id))
                elif not asked_to_end:
                    await self._report(call_id, summary)
                await active.running.end()
            finally:
                active.finished.set()

    async def _report(self, call_id: str, summary: CallSummary) -> None:
        if summary.reason is None:
            return
        logger.info("A conversation ended", reason=summary.reason.value, error=summary.error)
        event = ConversationEnded(
            self._clock(),
            summary.reason.value,
            transfer_to=summary.transfer_to,
            error=summary.error,
        )
        await self._tell(call_id, event)

    async def _tell(self, call_id: str, event: Event) -> None:
        if self._life is None:
            return
        telling = asyncio.create_task(self._life.tell_until_kept(call_id, event))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        # The event is retried until stored, but the stream does not wait longer for the database.
        await asyncio.wait({telling}, timeout=TELL_TIMEOUT_SECS)
