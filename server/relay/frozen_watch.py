"""FrozenWatch: takes calls from instances that are frozen, whose streams to Twilio stay open.

    A  renews ── renews ── ╳ frozen                                 wakes: silent, lets go
    B  every 2 s: stranded? ····· a lease has run out ─▶ A does not answer ─▶ lock ─▶ REST: redirect
    Twilio                                              A's stream ends ─▶ TwiML ─▶ stream to B

A killed instance's sockets close, so its calls have come elsewhere before its leases run out. What
has an owner is left alone, and so is what an instance has that answers: it is cut off from Redis,
and goes on with its calls.

A frozen instance may also be the one that passes a stream on. Its owner then gets no packets, of
which Twilio sends 50 a second, and has Twilio open another stream to itself.
"""

import asyncio
from collections.abc import Callable, Mapping

import httpx
from loguru import logger

from agent.lifecycle.state import OpenStream, next_verbs
from agent.lifecycle.statuses import CallStatus
from agent.live_calls import LiveCalls, Whereabouts
from agent.ports import CallLifecycle, Telephone
from agent.record.call_log import NoSuchCall
from server.relay.instance_tls import trusted_authorities

EVERY_SECS = 2.0
ANSWERS_WITHIN_SECS = 1.5


class FrozenWatch:
    """Looks for calls that nobody carries, and has Twilio ask for their TwiML again."""

    def __init__(
        self,
        live_calls: LiveCalls,
        life: CallLifecycle,
        telephone: Telephone,
        instance: str,
        packets: Callable[[], Mapping[str, int]] = dict,
        count: Callable[[str, str], None] = lambda _reason, _outcome: None,
        *,
        every_secs: float = EVERY_SECS,
    ) -> None:
        """`packets`: those that came so far of each call here whose stream is passed on to it.

        `count` hears why a call was to be taken, "frozen" or "stuck", and whether Twilio did its
        part: "pulled" or "refused".
        """
        self._count = count
        self._packets = packets
        # At the last look: the packets, and the calls of which none had come since the one before.
        self._came: dict[str, int] = {}
        self._stuck: set[str] = set()
        self._live_calls = live_calls
        self._life = life
        self._telephone = telephone
        self._instance = instance
        self._every_secs = every_secs
        self._http = httpx.AsyncClient(
            timeout=ANSWERS_WITHIN_SECS, trust_env=False, verify=trusted_authorities()
        )
        # Instances without an address that were silent at the last look, too.
        self._silent: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_on(), name="frozen-watch")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._http.aclose()

    async def look(self) -> None:
        """Take every call whose instance is frozen, and free those whose stream is stuck."""
        await self._free_stuck()
        stranded = await self._live_calls.stranded()
        frozen = await self._frozen(set(stranded.values()))
        for call_id, where in stranded.items():
            if where in frozen:
                with logger.contextualize(call_id=call_id):
                    await self._take(call_id, "frozen", where.instance)

    async def _look_on(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(self._every_secs)
            try:
                await self.look()
            except Exception as error:
                if not failing:
                    failed = logger.bind(error=type(error).__name__)
                    failed.error("It cannot be told whether an instance is frozen")
                failing = True
            else:
                failing = False

    async def _frozen(self, silent: set[Whereabouts]) -> set[Whereabouts]:
        """Of the instances that have not reported, those that do not answer either.

        One without an address counts when it has not reported at the next look: a Redis that was
        away for a while leaves all of them silent.
        """
        there = {each for each in silent if each.instance != self._instance}
        unnamed = {each for each in there if each.url is None}
        frozen = {each for each in unnamed if each.instance in self._silent}
        self._silent = frozenset(each.instance for each in unnamed)
        named = list(there - unnamed)
        answers = await asyncio.gather(*(self._answers(str(each.url)) for each in named))
        return frozen | {each for each, here in zip(named, answers, strict=True) if not here}

    async def _answers(self, url: str) -> bool:
        try:
            await self._http.get(f"{url}/health/live")
        except httpx.HTTPError:
            return False
        return True

    async def _free_stuck(self) -> None:
        came = dict(self._packets())
        stuck = {call_id for call_id, count in came.items() if self._came.get(call_id) == count}
        again = stuck & self._stuck
        self._came, self._stuck = came, stuck
        for call_id in again:
            with logger.contextualize(call_id=call_id):
                passes_on = "the one that passes its stream on"
                await self._take(call_id, "stuck", passes_on, self._instance)

    async def _take(self, call_id: str, reason: str, frozen: str, owner: str | None = None) -> None:
        """Have Twilio fetch the call's TwiML, unless it is over, elsewhere, or another one does.

        `owner`: who has the call now.
        """
        try:
            call = await self._life.record(call_id)
        except NoSuchCall:
            return
        if call.status is not CallStatus.IN_PROGRESS or not call.twilio_sid:
            return
        # The stream of a call that is transferred, or told goodbye, is over.
        if not isinstance(next_verbs(await self._life.state(call_id)), OpenStream):
            return
        if not await self._live_calls.rescue(call_id):
            return
        if await self._live_calls.owner(call_id) != owner:
            return
        logger.warning("An instance is frozen; its call is taken from it", frozen=frozen)
        pulled = False
        try:
            pulled = await self._telephone.redirect(call.twilio_sid, call_id)
        finally:
            self._count(reason, "pulled" if pulled else "refused")
