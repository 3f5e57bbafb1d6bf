"""The bus between a call's worker and its runner, which hardly ever have anything to say.

Pipecat reads a bus with two tasks for each side. Of a call, both sides only announce themselves;
that waits here until somebody else is there to hear it, or something else is said:

    worker · runner ─▶ "I am ready" ─▶ waits
    a third worker, or any other message ─▶ all that waits is delivered, and what comes from then on
"""

import asyncio

from pipecat.bus import (
    AsyncQueueBus,
    BusMessage,
    BusWorkerReadyMessage,
    BusWorkerRegistryMessage,
)
from pipecat.bus.subscriber import BusSubscriber

_ANNOUNCEMENTS = (BusWorkerReadyMessage, BusWorkerRegistryMessage)
# The call's worker, and its runner.
_OWN_SIDES = 2


class CallBus(AsyncQueueBus):
    """`AsyncQueueBus` that delivers from the first message on that anybody acts on."""

    def __init__(self) -> None:
        super().__init__()
        self._may_deliver = False
        self._has_news = False
        self._sides: set[str] = set()

    async def start(self) -> None:
        """Deliver, as soon as there is anything to deliver."""
        self._may_deliver = True
        await self._deliver_news()

    async def stop(self) -> None:
        """Deliver no more."""
        self._may_deliver = False
        await super().stop()
        # The runner looks next for tasks that are left: one that has just ended is to be told so.
        await asyncio.sleep(0)

    async def subscribe(self, subscriber: BusSubscriber) -> None:
        """Keep messages for one more side."""
        await super().subscribe(subscriber)
        self._sides.add(subscriber.name)
        if len(self._sides) > _OWN_SIDES:
            self._has_news = True
            await self._deliver_news()

    async def send(self, message: BusMessage) -> None:
        """Send to all sides."""
        await super().send(message)
        if not isinstance(message, _ANNOUNCEMENTS):
            self._has_news = True
            await self._deliver_news()

    async def _deliver_news(self) -> None:
        if self._may_deliver and self._has_news:
            await super().start()
