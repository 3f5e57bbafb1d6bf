"""SendQueue: messages to the model that wait for a connection, or behind each other."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from loguru import logger
from websockets.exceptions import ConnectionClosed

from pipelines.gemini.client import ModelSession
from pipelines.gemini.refusals import close_reason

# Ten seconds of 20 ms packets; older sound is of no use to a conversation.
MOST_WAITING = 500
# So many messages that cannot be sent are no conversation.
MOST_UNSENDABLE = 10

Send = Callable[[ModelSession], Awaitable[None]]


class SendQueue:
    """Keeps its order over every connection; an item is removed when it was sent."""

    def __init__(self) -> None:
        # With whether it is sound.
        self._items: deque[tuple[bool, Send]] = deque()
        self._has_some = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Nothing waits."""
        return not self._items

    def add(self, what: Send) -> None:
        """Send behind what waits."""
        self._items.append((False, what))
        self._has_some.set()

    def add_sound(self, what: Send) -> None:
        """Send a packet of sound behind what waits; of a full queue, the oldest packet goes."""
        if len(self._items) >= MOST_WAITING:
            oldest = next((item for item in self._items if item[0]), None)
            if oldest is not None:
                self._items.remove(oldest)
        self._items.append((True, what))
        self._has_some.set()

    def drop_sound(self) -> None:
        """Drop the sound that waits: the next connection is sent it from the ring."""
        self._items = deque(item for item in self._items if not item[0])

    async def send_to(self, session: ModelSession) -> str:
        """Send what waits, and what comes, until the connection fails; returns why it did."""
        unsendable = 0
        while True:
            await self._has_some.wait()
            while self._items:
                item = self._items[0]
                try:
                    await item[1](session)
                except ConnectionClosed as error:
                    return close_reason(error)
                except OSError as error:
                    return type(error).__name__
                except Exception as error:
                    unsendable += 1
                    logger.error("a message to the model was left out", error=type(error).__name__)
                    if unsendable >= MOST_UNSENDABLE:
                        return type(error).__name__
                # While it was sent, something may have come before it, or it grew too old.
                with contextlib.suppress(ValueError):
                    self._items.remove(item)
            self._has_some.clear()
