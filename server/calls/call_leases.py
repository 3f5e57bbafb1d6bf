"""CallLeases: renews this instance's leases on the calls it carries, from a thread of its own.

    loop     claim (first stream) ─────────────────────────────────────────▶ release (end)
    thread        renew · renew · renew …    every third of a lease
    silent                                     ╳ frozen: no renewal for a whole lease ╳

A busy event loop holds up no renewal. A process that was frozen for longer than a lease sends no
packet when it wakes, until a renewal says that the call is still its own. The leases of a killed
instance expire.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from loguru import logger

from agent.live_calls import LOST, NO_FENCE, InstanceReport, LiveCalls
from server.calls.leases import Leases

# Redis forgets a killed instance after this time.
LEASE_SECS = 6.0
# How long the end of the thread is waited for.
STOPPED_WITHIN_SECS = 5.0


class CallLeases:
    """Renews the leases of `instance`.

    `connect` opens a registry for the thread's own event loop. `leases` are the calls that are
    carried with their fencing numbers, which are updated; `on_lost` hears, in the loop that opened
    this, of calls that another instance has taken.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[LiveCalls]],
        leases: Leases,
        *,
        instance: str,
        ttl_secs: float,
        on_lost: Callable[[str], None] = lambda _: None,
        report: Callable[[], tuple[InstanceReport, list[str]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._leases = leases
        self._instance = instance
        self._ttl_secs = ttl_secs
        # Two attempts may fail before a lease expires.
        self._every_secs = ttl_secs / 3
        self._on_lost = on_lost
        self._report = report
        self._clock = clock
        self._valid_until = clock() + ttl_secs
        # Redis could not be asked last time; that is logged once.
        self._failing = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def holds(self, call_id: str) -> bool:
        """Whether the call may be spoken in: asked for each packet."""
        return self._clock() < self._valid_until and self._leases.of(call_id) != LOST

    def open(self) -> None:
        """Start renewing."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._renew_leases(loop)), name="call-leases", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Stop renewing; the registry releases the leases."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOPPED_WITHIN_SECS)

    async def _renew_leases(self, loop: asyncio.AbstractEventLoop) -> None:
        async with self._connect() as live_calls:
            while not self._stopping.is_set():
                asked = self._clock()
                await self._renew(live_calls, loop)
                # What cannot be asked is not lost: a call without Redis goes on, and Twilio plays
                # one stream of a call only. What counts is that this thread was not frozen.
                self._valid_until = asked + self._ttl_secs
                await asyncio.to_thread(self._stopping.wait, self._every_secs)
            if self._report is not None:
                await _quietly(live_calls.leave(self._instance))

    async def _renew(self, live_calls: LiveCalls, loop: asyncio.AbstractEventLoop) -> None:
        leases = self._leases.all()
        try:
            if leases:
                self._take(await live_calls.renew(leases, self._instance), leases, loop)
                for call_id in leases.keys() - self._leases.all().keys():
                    # It ended, and was released, before it was renewed.
                    await live_calls.release(call_id, self._instance)
            if self._report is not None:
                report, places = self._report()
                await live_calls.report(self._instance, report, places)
        except Exception as error:
            if not self._failing:
                failed = logger.bind(error=type(error).__name__)
                failed.error("The leases of calls cannot be renewed; calls go on")
            self._failing = True
        else:
            self._failing = False

    def _take(
        self,
        renewed: Mapping[str, int],
        asked: Mapping[str, int],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        for call_id, fence in renewed.items():
            before = asked[call_id]
            # One that was claimed meanwhile has a newer number.
            if fence == before or not self._leases.renewed(call_id, before, fence):
                continue
            if fence == LOST and before != NO_FENCE:
                loop.call_soon_threadsafe(self._on_lost, call_id)


async def _quietly(noting: Awaitable[None]) -> None:
    try:
        await noting
    except Exception as error:
        logger.bind(error=type(error).__name__).debug("An instance left without a word")
