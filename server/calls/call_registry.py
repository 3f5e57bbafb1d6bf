"""CallRegistry: which calls this instance carries, and the pipeline of each.

    place / inbound ─ reserve ─▶ held ─ warm ─▶ prepared ─ first stream ─▶ talking ─ end ─▶ free
                                   └──────────────┴─── release (nobody answered) ──────────▶ free

While the phone rings, the whole pipeline runs already, if it is to be prepared; otherwise it starts
with the first stream. It outlives the streams that carry it: the next stream of a call is bound to
the same line. When a conversation is over, the life of the call is told before the stream closes,
so that Twilio, which then asks what to do, gets the right answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from loguru import logger

from agent.clock import Clock
from agent.lifecycle.events import ConversationEnded, Event, InstanceStopped
from agent.live_calls import LiveCalls
from agent.ports import CallLifecycle
from agent.record.models import Call, EndReason
from pipelines.call.prewarming import Prewarming, StartCall
from pipelines.call.run_call import CallSummary, RunningCall
from pipelines.phone.phone_line import MediaStream, PhoneLine

# Streams that are expected here at the most; some come elsewhere.
EXPECTED_AT_MOST = 2000
TELL_PATIENCE_SECS = 2.0


class ConversationOver(Exception):
    """The call needs no stream any more: what was to be said was said."""


class _Talk:
    """One running pipeline, and the stream that carries it now."""

    def __init__(self, running: RunningCall) -> None:
        self.running = running
        self.stream: MediaStream | None = None
        # No stream is carried any more; the pipeline ends, or was ended from outside.
        self.over = False
        self.finished = asyncio.Event()
        self.watch: asyncio.Task[None] | None = None
        self.claiming: asyncio.Task[None] | None = None


class CallRegistry:
    """`CallMedia` of this instance; it never carries more than `capacity` calls it was asked for.

    A stream of a call that was answered already is always carried: it was counted elsewhere.
    """

    def __init__(
        self,
        start: StartCall,
        live_calls: LiveCalls,
        *,
        instance: str,
        capacity: int,
        clock: Clock,
        warming: Prewarming | None = None,
    ) -> None:
        """`warming` None: pipelines start when the phone is answered."""
        self._start = start
        self._warming = warming
        self._clock = clock
        self._live_calls = live_calls
        self._capacity = capacity
        # Calls with a place here, each with its record if it was placed or came in here.
        self._held: dict[str, Call | None] = {}
        self._talks: dict[str, _Talk] = {}
        # The records of calls that live, and whose next stream is on its way.
        self._expected: dict[str, Call] = {}
        self._life: CallLifecycle | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self.instance = instance

    def report_to(self, life: CallLifecycle) -> None:
        """Tell this life of every conversation that ends."""
        self._life = life

    @property
    def held(self) -> int:
        """How many calls have a place here."""
        return len(self._held)

    @property
    def carried(self) -> list[str]:
        """The calls that have talked here, and are not over."""
        return list(self._talks)

    @property
    def talking(self) -> int:
        """How many conversations are going on."""
        return len(self._talks)

    def reserve(self, call: Call) -> bool:
        """Take a place for a call; False when there is none."""
        if call.id not in self._held and len(self._held) >= self._capacity:
            return False
        self._held[call.id] = call
        return True

    def give_back(self, call_id: str) -> None:
        """Free a place that `reserve` took for a call that never came to be."""
        self._held.pop(call_id, None)

    async def warm(self, call_id: str) -> None:
        """Hold a place while the phone rings, and prepare to talk."""
        known = self._held.setdefault(call_id, None)
        if self._warming is not None and call_id not in self._talks:
            await self._warming.prepare(call_id, known)

    async def until_prepared(self, call_id: str, patience_secs: float) -> None:
        """Wait for so long, or until the call's first words are ready, or never will be."""
        waits = patience_secs > 0 and call_id in self._held and call_id not in self._talks
        if self._warming is None or not waits:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_secs):
                await self._warming.until_settled(call_id)

    async def release(self, call_id: str) -> None:
        """Nobody answered: free the place, and what was prepared."""
        await self._finish(call_id)

    async def end(self, call_id: str, reason: EndReason) -> None:
        """Stop talking: the call is over or must end now."""
        await self._finish(call_id)

    def expect(self, call: Call) -> None:
        """The call's stream comes next: who lets it in need not read the record then."""
        self._expected[call.id] = call
        while len(self._expected) > EXPECTED_AT_MOST:
            del self._expected[next(iter(self._expected))]  # it went to another instance

    def expected(self, call_id: str) -> Call | None:
        """The record of a call that lives, if its stream is expected here."""
        return self._expected.get(call_id)

    async def carry(self, call: Call, stream: MediaStream) -> PhoneLine:
        """The call's line, carried over `stream` from now on; its pipeline starts with the first.

        Raises: ConversationOver.
        """
        self._expected.pop(call.id, None)
        talk = self._talks.get(call.id)
        if talk is not None and talk.over:
            raise ConversationOver
        first = talk is None
        if talk is None:
            self._held[call.id] = call
            talk = self._begin(call)
        previous, talk.stream = talk.stream, stream
        # The greeting goes out first; who carries the call is for others to know.
        await talk.running.line.bind(stream)
        if first:
            talk.claiming = asyncio.create_task(self._note_owner(self._live_calls.claim, call.id))
        if previous is not None:
            await previous.close()
        return talk.running.line

    async def told(self, call_id: str) -> None:
        """Wait until the conversation, should it be ending, was reported to the call's life."""
        talk = self._talks.get(call_id)
        if talk is not None:
            await talk.finished.wait()

    async def leave(self) -> None:
        """The process stops, and will cut off calls that go on: their lives are told before."""
        cut_off = [
            call_id
            for call_id, talk in self._talks.items()
            if not talk.over and not talk.running.line.stopped
        ]
        stopped = InstanceStopped(self._clock())
        await asyncio.gather(*(self._tell(call_id, stopped) for call_id in cut_off))

    async def close(self) -> None:
        """End every pipeline; the calls themselves live on, for another process to carry."""
        ending = [self._finish(call_id) for call_id in list(self._talks)]
        if self._warming is not None:
            ending.append(self._warming.close())
        await asyncio.gather(*ending)
        self._held.clear()
        for task in self._telling:
            task.cancel()

    def _begin(self, call: Call) -> _Talk:
        prepared = None if self._warming is None else self._warming.take(call.id)
        talk = self._talks[call.id] = _Talk(prepared or self._start(call))
        talk.watch = asyncio.create_task(self._watch(call.id, talk), name=f"talk-{call.id}")
        return talk

    async def _finish(self, call_id: str) -> None:
        self._held.pop(call_id, None)
        self._expected.pop(call_id, None)
        if self._warming is not None:
            await self._warming.drop(call_id)
        talk = self._talks.get(call_id)
        if talk is None:
            return
        talk.over = True
        try:
            await talk.running.end()
        finally:
            # The task that watches may be the very one that brought us here.
            self._talks.pop(call_id, None)
            if talk.claiming is not None:
                await talk.claiming
            await self._note_owner(self._live_calls.release, call_id)

    async def _note_owner(
        self, note: Callable[[str, str], Awaitable[object]], call_id: str
    ) -> None:
        # Who owns a call is for others to know; the call itself goes on without.
        try:
            await note(call_id, self.instance)
        except Exception:
            logger.exception("The owner of a call could not be noted")

    async def _watch(self, call_id: str, talk: _Talk) -> None:
        with logger.contextualize(call_id=call_id):
            try:
                summary = await talk.running.ended()
            except Exception:
                logger.exception("The pipeline of a call failed")
                summary = CallSummary(EndReason.SYSTEM, None, "the pipeline failed")
            asked_to_end, talk.over = talk.over, True
            try:
                if not asked_to_end:
                    await self._report(call_id, summary)
                await talk.running.end()
            finally:
                talk.finished.set()

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
        # Nobody else knows what happened, but a stream does not wait for a database that is away.
        await asyncio.wait({telling}, timeout=TELL_PATIENCE_SECS)
