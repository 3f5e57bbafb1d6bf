"""What a WebSocket has received and its app has not asked for yet: one reader, and little else.

uvicorn keeps an `asyncio.Queue` for each socket, made for many readers and writers, and stops
reading after each message until the app asks for the next. Fifty times a second and call, that
costs as much as the message does.
"""

import asyncio
from collections import deque
from typing import Any

# So many messages wait at the most before reading stops: a third of a second of a phone call.
MOST_UNREAD = 16


class Inbox:
    """A queue of ASGI events, with the methods of `asyncio.Queue` that uvicorn calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether reading should stop until the app has caught up."""
        return len(self._events) >= MOST_UNREAD

    def empty(self) -> bool:
        """Whether the app has seen everything."""
        return not self._events

    def put_nowait(self, event: Any) -> None:
        """Add an event, and wake the reader if it waits."""
        self._events.append(event)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def get(self) -> Any:
        """The next event, in the order that they came. One task may wait at a time."""
        while not self._events:
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._events.popleft()
