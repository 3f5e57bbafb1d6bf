"""Inbox: queue of a WebSocket's received messages, for one reader.

It replaces uvicorn's `asyncio.Queue`, which is made for many readers, and uvicorn's pause after
each message: at fifty messages a second and call, these cost as much as the message itself.
"""

import asyncio
from collections import deque
from typing import Any

# Reading pauses above so many waiting messages: a third of a second of a call.
MOST_UNREAD = 16


class Inbox:
    """A queue of ASGI events, with the methods of `asyncio.Queue` that uvicorn calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether reading should pause."""
        return len(self._events) >= MOST_UNREAD

    def empty(self) -> bool:
        """Whether no event waits."""
        return not self._events

    @property
    def holds_only_texts(self) -> bool:
        """Whether nothing but text messages waits."""
        return all("text" in event for event in self._events)

    def take_texts(self) -> list[str]:
        """Take all waiting text messages."""
        texts = [event["text"] for event in self._events]
        self._events.clear()
        return texts

    def put_nowait(self, event: Any) -> None:
        """Add an event, and wake the reader."""
        self._events.append(event)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def get(self) -> Any:
        """Wait for the next event. Only one task may wait at a time."""
        while not self._events:
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._events.popleft()
