"""ASGI middleware that spreads the start of requests over the turns of the event loop.

    turn   1        2        3
    start  a b c d  e f g h  i
           └ media streams are served between two turns

Most requests are answered in one go. However many arrive together, a live call waits for a few.
"""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

STARTS_EACH_TURN = 4


class FairShare:
    """Starts at most 4 requests in a turn of the event loop; the others wait in order."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._started = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it is its turn; all else at once."""
        if scope["type"] == "http":
            await self._wait_for_turn()
        await self._app(scope, receive, send)

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._started < STARTS_EACH_TURN:
            self._started += 1
            if self._started == 1:
                loop.call_soon(self._next_turn)
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_turn(self) -> None:
        self._started = 0
        while self._waiting and self._started < STARTS_EACH_TURN:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._started += 1
        if self._started:
            asyncio.get_running_loop().call_soon(self._next_turn)
