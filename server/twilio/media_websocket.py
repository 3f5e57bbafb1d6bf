"""uvicorn's WebSocket, with an end to its patience for a peer that does not read.

    write ─▶ 64 kB unread ─▶ paused: senders wait ─┬─ read again ─▶ goes on
                                                   └─ 5 s later ─▶ cut off, the app is told
    the app is done ─▶ closed, but for what is unread ─▶ 5 s later ─▶ cut off

A transport that is only closed waits for ever for its peer to read the rest: the app would never
be told, whoever sends would never wake, and the socket would stay open.

An app that sends and receives often may do so without the layers of ASGI apps in between: the
socket itself is in the scope, as the extension `DIRECT_SOCKET`.
"""

import asyncio
import logging
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from pipelines.gemini.websocket_frames import MOST_FRAGMENTS, TEXT, FrameCutter, text_frame
from server.twilio.inbox import Inbox

# Twilio reads as fast as the network carries; it queues what it has no time to play.
SLOW_READER_SECS = 5.0
# What the app receives as the code of the disconnect: one of those that are free for private use.
SLOW_READER = 4008
# The name of the extension in the scope of each WebSocket that is served by this one.
DIRECT_SOCKET = "voice_ai.socket"
# To a request for a WebSocket that is none: it has a body, or far too many headers.
_NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# uvicorn's own tells of each handshake, open and close at INFO.
_LOGGER = logging.getLogger("uvicorn.websocket")


class MediaWebSocketProtocol(WebSocketsSansIOProtocol):
    """Cuts off a peer that has left 64 kB unread for `SLOW_READER_SECS`, or answers no ping."""

    patience: asyncio.TimerHandle | None = None
    lingering: asyncio.TimerHandle | None = None
    cutter: FrameCutter | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _LOGGER
        self.queue: Inbox = Inbox(self.loop)  # type: ignore[assignment]

    async def run_asgi(self) -> None:
        """Run the app, with this socket in its scope."""
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[DIRECT_SOCKET] = self
        try:
            await super().run_asgi()
        finally:
            del extensions[DIRECT_SOCKET]  # or they hold each other for good
        if not self.disconnected:
            # uvicorn closes the transport now, or once the peer had its time to agree.
            to_agree_secs = 0.0 if self.close_timer is None else self.close_timeout
            self.lingering = self.loop.call_later(
                to_agree_secs + SLOW_READER_SECS, self.transport.abort
            )

    def send_now(self, *texts: str) -> bool:
        """Send messages at once; False when they must wait, or have to fail, by ASGI's `send`."""
        if not self.handshake_complete or self.close_sent or not self.writable.is_set():
            return False
        if self.disconnected or self.transport.is_closing():
            return False
        if self.conn.state is not State.OPEN:
            return False
        self.transport.write(b"".join([text_frame(text.encode()) for text in texts]))
        return True

    def data_received(self, data: bytes) -> None:
        """Bytes from the other side: whole messages are taken here, all else by websockets."""
        if self.cutter is None:
            self._begin_to_cut(data)
            return
        for kind, payload, raw in self.cutter.cut(data):
            if kind != TEXT or not self._take_text(payload):
                super().data_received(raw)
                if self.transport.is_closing():
                    return  # by a mistake or a close: what is behind it is nobody's

    def handle_cont(self, event: Frame) -> None:
        """One more piece of a message, if there are not too many yet."""
        if self.close_sent:
            return
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
            return
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Hand a message over; reading stops when the app is behind, not after each one."""
        was_paused, self.read_paused = self.read_paused, True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        self._stop_if_full()

    def _begin_to_cut(self, data: bytes) -> None:
        """The request for a WebSocket, to its last byte; all that comes later is frames."""
        was_asked = self.handshake_initiated
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            # websockets has nothing to say then, and reads no more.
            self.transport.write(_NO_HANDSHAKE)
            self.transport.close()
        elif self.handshake_initiated and not was_asked and data.endswith(b"\r\n\r\n"):
            self.cutter = FrameCutter(masked=True, most_bytes=self.config.ws_max_size)

    def _take_text(self, payload: bytes) -> bool:
        """Hand a text message over; False when websockets has to say what is wrong with it."""
        conn = self.conn
        if conn.state is not State.OPEN or conn.current_size is not None or self.close_sent:
            return False
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return False
        self.queue.put_nowait({"type": "websocket.receive", "text": text})
        self._stop_if_full()
        return True

    def _stop_if_full(self) -> None:
        # Behind our own close, nothing is kept, and the other side's agreement is still to be read.
        if self.queue.full and not self.read_paused and not self.close_sent:
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
        if self.lingering is not None:
            self.lingering.cancel()
            self.lingering = None
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
