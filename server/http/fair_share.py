"""ASGI middleware that starts a few requests in each turn of the event loop.

Most requests are answered in one go. However many arrive together, a live call waits for a few.
"""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.loop_turns import TurnQueue

STARTS_EACH_TURN = 4


class FairShare:
    """Starts at most 4 requests in a turn of the event loop; the others wait in order."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = TurnQueue(STARTS_EACH_TURN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it is its turn; all else at once."""
        if scope["type"] == "http":
            await self._wait_for_turn()
        await self._app(scope, receive, send)

    async def _wait_for_turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> bool:
            if turn.done():
                return False
            turn.set_result(None)
            return True

        self._turns.do(begin)
        await turn
