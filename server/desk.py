"""The media desk of one instance: which calls it carries, and the pipeline of each.

    place / inbound ─ reserve ─▶ held ─ warm ─▶ prepared ─ first stream ─▶ running ─ end ─▶ free
                                   └──────────────┴─── release (nobody answered) ──────────▶ free

While the phone rings, the whole pipeline runs already: its session is open, and the greeting waits
on the line. What goes wrong then is no failure of the call: it is answered cold.

A pipeline outlives the streams that carry it: the next stream of a call is bound to the same line.
When a conversation is over, the life of the call is told before the stream closes, so that Twilio,
which then asks what to do, gets the right answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from loguru import logger

from agent.calls import Call, EndReason
from agent.clock import Clock
from agent.life_events import ConversationEnded
from agent.live_calls import LiveCalls
from agent.measures import MeasureSink, WarmUp, WarmWaste
from agent.ports import CallLife
from pipelines.phone_line import MediaStream, PhoneLine
from pipelines.run_call import CallSummary, RunningCall

TELL_PATIENCE_SECS = 2.0
# A prepared session that waits longer is made anew: Gemini ends connections after ten minutes.
WARM_FOR_SECS = 240.0

StartCall = Callable[[Call], RunningCall]
FindCall = Callable[[str], Awaitable[Call]]


@dataclass(frozen=True, slots=True)
class WarmPolicy:
    """Whether and how calls are prepared while they ring.

    `find` reads a call's record; at most `limit` calls are prepared at once.
    """

    find: FindCall
    limit: int
    measure: MeasureSink
    for_secs: float = WARM_FOR_SECS


class ConversationOver(Exception):
    """The call needs no stream any more: what was to be said was said."""


class _Talk:
    """One running pipeline, and the stream that carries it now."""

    def __init__(self, running: RunningCall) -> None:
        self.running = running
        self.began = asyncio.get_running_loop().time()
        self.stream: MediaStream | None = None
        # A stream has carried it: from then on its end is the conversation's.
        self.carried = False
        # No stream is carried any more; the pipeline ends, or was ended from outside.
        self.over = False
        self.finished = asyncio.Event()
        self.watch: asyncio.Task[None] | None = None


class Desk:
    """`MediaDesk` of this instance; it never carries more than `capacity` calls it was asked for.

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
        warming: WarmPolicy | None = None,
    ) -> None:
        """`warming` None: pipelines start when the phone is answered."""
        self._start = start
        self._warming = warming
        self._renewing: set[asyncio.Task[None]] = set()
        # Resolved when the next pipeline begins.
        self._begin_waiters: list[asyncio.Future[None]] = []
        self._clock = clock
        self._live_calls = live_calls
        self._capacity = capacity
        self._held: set[str] = set()
        self._talks: dict[str, _Talk] = {}
        self._life: CallLife | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self.instance = instance

    def report_to(self, life: CallLife) -> None:
        """Tell this life of every conversation that ends."""
        self._life = life

    @property
    def held(self) -> int:
        """How many calls have a place here."""
        return len(self._held)

    @property
    def carried(self) -> list[str]:
        """The calls whose pipelines run here."""
        return list(self._talks)

    @property
    def talking(self) -> int:
        """How many conversations are going on."""
        return sum(talk.carried for talk in self._talks.values())

    def reserve(self, call_id: str) -> bool:
        """Take a place for a call; False when there is none."""
        if call_id not in self._held and len(self._held) >= self._capacity:
            return False
        self._held.add(call_id)
        return True

    def give_back(self, call_id: str) -> None:
        """Free a place that `reserve` took for a call that never came to be."""
        self._held.discard(call_id)

    @property
    def prepared(self) -> int:
        """How many pipelines run for phones that still ring."""
        return sum(not talk.carried for talk in self._talks.values())

    async def warm(self, call_id: str) -> None:
        """Hold a place while the phone rings, and prepare to talk."""
        self._held.add(call_id)
        warming = self._warming
        if warming is None or call_id in self._talks:
            return
        if self.prepared >= warming.limit:
            warming.measure(WarmUp("limit", 0.0))
            return
        call = await warming.find(call_id)
        # Meanwhile it may have been answered, or be over.
        if call_id in self._held and call_id not in self._talks:
            self._begin(call)

    async def until_prepared(self, call_id: str, patience_secs: float) -> None:
        """Wait until the call's first words are ready, or for so long."""
        if self._warming is None or patience_secs <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_secs):
                while (talk := self._talks.get(call_id)) is None:
                    waiter = asyncio.get_running_loop().create_future()
                    self._begin_waiters.append(waiter)
                    await waiter
                await talk.running.prepared()

    async def release(self, call_id: str) -> None:
        """Nobody answered: free the place, and what was prepared."""
        talk = self._talks.get(call_id)
        if talk is not None and not talk.carried:
            self._waste(talk, "released")
        await self._finish(call_id)

    async def end(self, call_id: str, reason: EndReason) -> None:
        """Stop talking: the call is over or must end now."""
        await self._finish(call_id)

    async def carry(self, call: Call, stream: MediaStream) -> PhoneLine:
        """The call's line, carried over `stream` from now on; its pipeline starts with the first.

        Raises: ConversationOver.
        """
        talk = self._talks.get(call.id)
        if talk is not None and talk.over:
            raise ConversationOver
        if talk is None:
            self._held.add(call.id)
            talk = self._begin(call)
            if self._warming is not None:
                self._warming.measure(WarmUp("cold", 0.0))
        elif not talk.carried and self._warming is not None:
            self._warming.measure(WarmUp("used", asyncio.get_running_loop().time() - talk.began))
        first, talk.carried = not talk.carried, True
        previous, talk.stream = talk.stream, stream
        # The greeting goes out first; who carries the call is for others to know.
        await talk.running.line.bind(stream)
        if first:
            await self._note_owner(self._live_calls.claim, call.id)
        if previous is not None:
            await previous.close()
        return talk.running.line

    async def told(self, call_id: str) -> None:
        """Wait until the conversation, should it be ending, was reported to the call's life."""
        talk = self._talks.get(call_id)
        if talk is not None:
            await talk.finished.wait()

    async def close(self) -> None:
        """End every pipeline; the calls themselves live on, for another process to carry."""
        await asyncio.gather(*(self._finish(call_id) for call_id in list(self._talks)))
        self._held.clear()
        for task in [*self._telling, *self._renewing]:
            task.cancel()

    def _begin(self, call: Call) -> _Talk:
        talk = self._talks[call.id] = _Talk(self._start(call))
        talk.watch = asyncio.create_task(self._watch(call.id, talk), name=f"talk-{call.id}")
        waiters, self._begin_waiters = self._begin_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._warming is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._warming.for_secs, self._renew, call, talk)
        return talk

    def _renew(self, call: Call, talk: _Talk) -> None:
        """A call that rings for long gets a fresh session: the old one would soon be ended."""
        if talk.carried or self._talks.get(call.id) is not talk:
            return
        self._waste(talk, "too_old")
        talk.over = True
        self._begin(call)
        ending = asyncio.create_task(talk.running.end(), name=f"renew-{call.id}")
        self._renewing.add(ending)
        ending.add_done_callback(self._renewing.discard)

    def _waste(self, talk: _Talk, outcome: str) -> None:
        if self._warming is None:
            return
        secs = asyncio.get_running_loop().time() - talk.began
        self._warming.measure(WarmUp(outcome, secs))
        for (direction, modality), tokens in talk.running.tokens.items():
            self._warming.measure(WarmWaste(direction, modality, tokens))

    async def _finish(self, call_id: str) -> None:
        self._held.discard(call_id)
        talk = self._talks.get(call_id)
        if talk is None:
            return
        talk.over = True
        try:
            await talk.running.end()
        finally:
            # The task that watches may be the very one that brought us here.
            self._talks.pop(call_id, None)
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
            if not talk.carried and not asked_to_end:
                # The phone still rings: whoever answers it finds nothing prepared, and no harm.
                self._talks.pop(call_id, None)
                logger.warning("A call could not be prepared", error=summary.error)
                reason = summary.reason or EndReason.SYSTEM
                self._waste(talk, f"failed_{reason.value}")
                asked_to_end = True
            try:
                if not asked_to_end:
                    await self._report(call_id, summary)
                await talk.running.end()
            finally:
                talk.finished.set()

    async def _report(self, call_id: str, summary: CallSummary) -> None:
        if summary.reason is None or self._life is None:
            return
        logger.info("A conversation ended", reason=summary.reason.value, error=summary.error)
        event = ConversationEnded(
            self._clock(),
            summary.reason.value,
            transfer_to=summary.transfer_to,
            error=summary.error,
        )
        telling = asyncio.create_task(self._life.tell_surely(call_id, event))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        # Nobody else knows why it ended, but its stream does not wait for a database that is away.
        await asyncio.wait({telling}, timeout=TELL_PATIENCE_SECS)
