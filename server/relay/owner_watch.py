"""OwnerWatch: notices instances that are frozen or cut off while streams are passed on to them.

    every 1.5 s, an instance   GET /health/live ─ no answer within 3 s ─▶ all its streams end here

One question serves all streams to an instance. A process that died needs none: its sockets close.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from loguru import logger

EVERY_SECS = 1.5
ANSWERS_WITHIN_SECS = 3.0


class OwnerWatch:
    """Asks each instance that is watched."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        # By address: whom to tell.
        self._watching: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)
        self._asking: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def watched(self, url: str, on_lost: Callable[[], None]) -> Iterator[None]:
        """Call `on_lost` when the instance at this address does not answer."""
        self._watching[url].add(on_lost)
        if url not in self._asking:
            self._asking[url] = asyncio.create_task(self._ask(url), name="owner-watch")
        try:
            yield
        finally:
            self._watching[url].discard(on_lost)

    async def close(self) -> None:
        """Ask no more."""
        for asking in list(self._asking.values()):
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self, url: str) -> None:
        try:
            while self._watching[url]:
                await self._ask_once(url)
                await asyncio.sleep(EVERY_SECS)
            del self._watching[url]
        finally:
            # At once: a stream that begins from here on starts another one.
            del self._asking[url]

    async def _ask_once(self, url: str) -> None:
        try:
            await self._http.get(f"{url}/health/live", timeout=ANSWERS_WITHIN_SECS)
        except httpx.HTTPError as error:
            logger.bind(error=type(error).__name__).error(
                "An instance does not answer; the streams passed on to it end", owner=url
            )
            for lost in list(self._watching[url]):
                lost()
