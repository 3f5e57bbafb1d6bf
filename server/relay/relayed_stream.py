"""RelayedStream: passes the messages of a Twilio stream on to the owner, and back.

    Twilio ─▶ data_received ─▶ owner's transport      at once, as they came, no task, no JSON
                   └─ no room ─▶ inbox ─▶ `_go_up`    in order behind what waits
    owner  ─▶ data_received ─▶ Twilio's transport     the same, and `_go_down`

All that waits is bounded: reading stops behind it, and a peer that does not read is let go of.
"""

import asyncio
import contextlib
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed

from server.relay.owner_socket import OwnerSocket
from server.twilio.media_websocket import DIRECT_SOCKET, SLOW_READER_SECS, MediaWebSocketProtocol

# The code of a connection that was lost without a close frame: RFC 6455, section 7.4.1.
ABNORMAL = 1006


class TextOf(Protocol):
    """The text of an ASGI message; raises when the stream is to end."""

    def __call__(self, message: Any, /) -> str:
        """Raises: WebSocketDisconnect, or what else ends the stream."""
        ...


class RelayedStream:
    """One stream; `run` lasts until either side is gone."""

    def __init__(self, twilio: WebSocket, owner: OwnerSocket, text_of: TextOf) -> None:
        self._twilio = twilio
        self._owner = owner
        self._text_of = text_of
        self._direct: MediaWebSocketProtocol = twilio.scope["extensions"][DIRECT_SOCKET]
        # A message that had to wait is being sent: others wait behind it.
        self._is_late_up = self._is_late_down = False

    async def run(self) -> tuple[int, str] | None:
        """Pass messages on; the code and reason of the owner's close, None: Twilio has gone.

        Raises: what `text_of` raises, except for WebSocketDisconnect.
        """
        up = asyncio.create_task(self._go_up(), name="relay-up")
        down = asyncio.create_task(self._go_down(), name="relay-down")
        self._direct.pass_on = self._up_at_once
        self._owner.pass_on = self._down_at_once
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._direct.pass_on = self._owner.pass_on = None
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        if not up.cancelled() and up.result():
            return None
        return self._owner.close_code or ABNORMAL, self._owner.close_reason or ""

    def _up_at_once(self, message: bytes) -> bool:
        return not self._is_late_up and self._owner.send_now(message)

    def _down_at_once(self, message: bytes) -> bool:
        return not self._is_late_down and self._direct.write_now(message)

    async def _go_up(self) -> bool:
        """Send what had to wait; True once Twilio has gone, False once the owner has."""
        receive = self._direct.receive
        try:
            while True:
                text = self._text_of(await receive())
                self._is_late_up = True
                async with asyncio.timeout(SLOW_READER_SECS):
                    await self._owner.send(text)
                self._is_late_up = False
        except WebSocketDisconnect:
            return True
        except (ConnectionClosed, TimeoutError):
            return False

    async def _go_down(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, ConnectionClosed, RuntimeError):
            while True:
                text = await self._owner.recv(decode=True)
                self._is_late_down = True
                await self._twilio.send_text(text)
                self._is_late_down = False
