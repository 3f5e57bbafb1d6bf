"""Places: which calls this instance holds a place for, and whether another one may come.

place / inbound ─ admit ─▶ held here, counted among all instances ─ free ─▶ another call's
"""

import asyncio
from collections.abc import Awaitable

from loguru import logger

from agent.live_calls import InstanceReport, LiveCalls
from agent.loop_load import LoopLoad
from agent.record.models import Call


class Places:
    """The places of one instance, at most `capacity`.

    `fleet_capacity`: calls that all instances together hold at most; None sets no limit. `url`:
    where other instances reach this one. `load`: no call is taken while its loop is overloaded.
    """

    def __init__(
        self,
        live_calls: LiveCalls,
        *,
        instance: str,
        capacity: int,
        fleet_capacity: int | None = None,
        url: str | None = None,
        load: LoopLoad | None = None,
    ) -> None:
        self.instance = instance
        # This process stops: it takes no new call, and carries those that it has.
        self.draining = False
        # Streams of other instances' calls that are passed on to them.
        self.relays = 0
        self._live_calls = live_calls
        self._capacity = capacity
        self._fleet_capacity = fleet_capacity
        self._url = url
        self._load = load
        # Calls with a place here, each with its record if it was placed or came in here.
        self._held: dict[str, Call | None] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def __contains__(self, call_id: object) -> bool:
        return call_id in self._held

    @property
    def held(self) -> int:
        """How many calls have a place here."""
        return len(self._held)

    @property
    def free(self) -> int:
        """How many more calls have a place here now."""
        closed = self.draining or self.is_overloaded
        return 0 if closed else max(0, self._capacity - len(self._held))

    @property
    def busy(self) -> int:
        """What a stop of this process would disturb: calls with a place here, and relays."""
        return self.held + self.relays

    @property
    def is_overloaded(self) -> bool:
        """Whether the event loop is too late to carry another call."""
        return self._load is not None and self._load.is_overloaded

    def report(self) -> tuple[InstanceReport, list[str]]:
        """What this instance says of itself, and the calls that have a place here."""
        report = InstanceReport(self.held, self._capacity, self.draining, self._url)
        return report, list(self._held)

    def record_of(self, call_id: str) -> Call | None:
        """The record of a call that has a place here, as it began; None when it was not given."""
        return self._held.get(call_id)

    async def admit(self, call: Call, ahead: int = 0) -> bool:
        """Reserve a place for a call, here and among all instances; False when there is none.

        `ahead`: callers who have waited longer, and for whom as many places stay free.
        """
        if ahead and self.free <= ahead:
            return False
        if not self.reserve(call):
            return False
        limit = None if self._fleet_capacity is None else self._fleet_capacity - ahead
        if await self._live_calls.admit(call.id, limit, self.instance):
            return True
        self.free_place(call.id)
        return False

    def reserve(self, call: Call) -> bool:
        """Reserve a place for a call here; False when there is none."""
        if call.id not in self._held and not self.free:
            return False
        self._held[call.id] = call
        return True

    async def hold_as(self, call: Call, call_id: str) -> None:
        """Give a call that was admitted another id."""
        admitted, call.id = call.id, call_id
        self.free_place(admitted)
        self._held[call_id] = call
        # In this order: another call would be admitted in between.
        await self.count(call_id)
        await self.count_no_more(admitted)

    def hold(self, call_id: str, call: Call | None = None) -> Call | None:
        """Have a place for a call, whether there is one or not; returns what is known of it."""
        if call is not None:
            self._held[call_id] = call
        return self._held.setdefault(call_id, None)

    def free_place(self, call_id: str) -> bool:
        """Free the place here; whether the call had one."""
        if call_id not in self._held:
            return False
        del self._held[call_id]
        return True

    def give_back(self, call_id: str) -> None:
        """Free the place that `admit` took for a call that was not created."""
        if self.free_place(call_id):
            telling = asyncio.create_task(self.count_no_more(call_id))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def count(self, call_id: str) -> None:
        """Count a call among those of all instances, over the limit, too."""
        await noted(self._live_calls.admit(call_id, None, self.instance))

    async def count_no_more(self, call_id: str) -> None:
        """A call is over: count it no more among those of all instances."""
        await noted(self._live_calls.dismiss(call_id))

    def close(self) -> None:
        """Forget all calls."""
        self._held.clear()
        for task in self._telling:
            task.cancel()


async def noted(noting: Awaitable[object]) -> None:
    """Note something for other instances; the call goes on without it."""
    try:
        await noting
    except Exception:
        logger.exception("What other instances know of a call could not be changed")
