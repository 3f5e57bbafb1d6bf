"""uvicorn's WebSocket, with an end to its patience for a peer that does not read.

    write ─▶ 64 kB unread ─▶ paused: senders wait ─┬─ read again ─▶ goes on
                                                   └─ 5 s later ─▶ cut off, the app is told

A transport that is only closed waits for ever for its peer to read the rest: the app would never
be told, and whoever sends would never wake.

An app that sends and receives often may do so without the layers of ASGI apps in between: the
socket itself is in the scope, as the extension `DIRECT_SOCKET`.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from server.inbox import Inbox

# Twilio reads as fast as the network carries; it queues what it has no time to play.
SLOW_READER_SECS = 5.0
# What the app receives as the code of the disconnect: one of those that are free for private use.
SLOW_READER = 4008
# The name of the extension in the scope of each WebSocket that is served by this one.
DIRECT_SOCKET = "voice_ai.socket"


class PatientSocket(WebSocketsSansIOProtocol):
    """Cuts off a peer that has left 64 kB unread for `SLOW_READER_SECS`, or answers no ping."""

    patience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: Inbox = Inbox(self.loop)  # type: ignore[assignment]

    async def run_asgi(self) -> None:
        """Run the app, with this socket in its scope."""
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[DIRECT_SOCKET] = self
        try:
            await super().run_asgi()
        finally:
            del extensions[DIRECT_SOCKET]  # or they hold each other for good

    def send_now(self, text: str) -> bool:
        """Send one message at once; False when it must wait, or has to fail, by ASGI's `send`."""
        if not self.handshake_complete or self.close_sent or not self.writable.is_set():
            return False
        if self.disconnected or self.transport.is_closing():
            return False
        try:
            self.conn.send_text(text.encode())
        except InvalidState:
            return False
        self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def send_receive_event_to_app(self) -> None:
        """Hand a message over; reading stops when the app is behind, not after each one."""
        was_paused, self.read_paused = self.read_paused, True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        if self.queue.full and not was_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """More is unread than should be: the peer has so long to catch up."""
        super().pause_writing()
        self.patience = self.loop.call_later(SLOW_READER_SECS, self._cut_off)

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._relax()
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        """The peer answers no ping: it will not read the rest either."""
        super().keepalive_timeout()
        self.transport.abort()

    def _relax(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _cut_off(self) -> None:
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SLOW_READER})
        self.transport.abort()
