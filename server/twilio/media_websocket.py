"""WebSocket protocol of uvicorn for media streams: timeouts, and a fast path for text messages.

    write ─▶ 64 kB unread ─▶ paused: senders wait ─┬─ read again ─▶ goes on
                                                   └─ 5 s later ─▶ aborted, the app is told
    the app is done ─▶ closed, with bytes unread ─▶ 5 s later ─▶ aborted

Without the timeouts, a peer that stops reading would block senders and keep the socket open for
ever, because a closed transport waits until its buffer is read.

The fast path: `FrameCutter` takes whole text messages past websockets' state machine, and the app
sends and receives through the scope's extension `DIRECT_SOCKET`, past the ASGI layers.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from pipelines.gemini.websocket_frames import (
    MOST_FRAGMENTS,
    TEXT,
    FrameCutter,
    masked_text_frame,
    text_frame,
)
from server.twilio.inbox import Inbox

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

# Twilio reads at network speed, and queues what is still to be played.
SLOW_READER_SECS = 5.0
# The disconnect's code for the app: one for private use.
SLOW_READER = 4008
# The name of the extension in the scope of each WebSocket.
DIRECT_SOCKET = "voice_ai.socket"
# Response to an invalid upgrade request: it has a body, or far too many headers.
_NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# uvicorn's own logger logs each handshake, open and close at INFO.
_LOGGER = logging.getLogger("uvicorn.websocket")


class MediaWebSocketProtocol(WebSocketsSansIOProtocol):
    """Aborts a peer that leaves 64 kB unread for `SLOW_READER_SECS`, or answers no ping."""

    slow_reader_timer: asyncio.TimerHandle | None = None
    abort_timer: asyncio.TimerHandle | None = None
    cutter: FrameCutter | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _LOGGER
        self.queue: Inbox = Inbox(self.loop)  # type: ignore[assignment]

    async def run_asgi(self) -> None:
        """Run the app with this object in its scope."""
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[DIRECT_SOCKET] = self
        try:
            await super().run_asgi()
        finally:
            del extensions[DIRECT_SOCKET]  # breaks a reference cycle
        if not self.disconnected:
            # uvicorn closes the transport now, or after the peer's time to send its close frame.
            to_agree_secs = 0.0 if self.close_timer is None else self.close_timeout
            self.abort_timer = self.loop.call_later(
                to_agree_secs + SLOW_READER_SECS, self.transport.abort
            )

    async def send(self, message: "ASGISendEvent") -> None:
        """Send an ASGI message; a refusal that is whole completes the handshake, too."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # Otherwise uvicorn logs that the app returned without a response.
            self.handshake_complete = True

    @property
    def is_open(self) -> bool:
        """Whether the peer is still there."""
        return not self.disconnected and self.conn.state is State.OPEN

    def send_now(self, *texts: str) -> bool:
        """Send messages at once; False when that is not possible: use ASGI's `send` then."""
        if not self.handshake_complete or self.close_sent or not self.writable.is_set():
            return False
        if self.disconnected or self.transport.is_closing():
            return False
        if self.conn.state is not State.OPEN:
            return False
        self.transport.write(b"".join([text_frame(text.encode()) for text in texts]))
        return True

    def hand_over(self, protocol: asyncio.Protocol) -> bytes | None:
        """Have `protocol` take this connection; the frames of the peer's that were not read yet.

        None, and nothing changes, in the middle of a frame or message, or of a slow write: later
        it may be possible.
        """
        conn, cutter = self.conn, self.cutter
        is_open = conn.state is State.OPEN and not self.transport.is_closing()
        if not is_open or cutter is None or not self.queue.holds_only_texts:
            return None
        if self.read_paused:
            # For the rest of a frame, too.
            self.read_paused = False
            self.transport.resume_reading()
        if conn.current_size is not None or not self.writable.is_set():
            return None
        head = cutter.let_go()
        if head is None:
            return None
        # What `protocol` writes may end in the middle of a frame.
        self.stop_keepalive()
        self.transport.set_protocol(protocol)
        unread = [masked_text_frame(text.encode()) for text in self.queue.take_texts()]
        return b"".join([*unread, head])

    def take_back(self) -> None:
        """Take the connection back from who it was handed over to, to end it."""
        if not self.disconnected:
            self.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Queue whole text messages; pass everything else to websockets."""
        if self.cutter is None:
            self._read_handshake(data)
            return
        for kind, payload, raw in self.cutter.cut(data):
            if kind != TEXT or not self._take_text(payload):
                super().data_received(raw)
                if self.transport.is_closing():
                    return  # after an error or a close, the rest is dropped

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment of a message; close the connection when there are too many."""
        if self.close_sent:
            return
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
            return
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Queue a message; pause reading when the inbox is full, not after each message."""
        was_paused, self.read_paused = self.read_paused, True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        self._stop_if_full()

    def _read_handshake(self, data: bytes) -> None:
        """Pass the upgrade request to websockets; after it, cut frames."""
        was_asked = self.handshake_initiated
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            # websockets sends no response then.
            self.transport.write(_NO_HANDSHAKE)
            self.transport.close()
        elif self.handshake_initiated and not was_asked and data.endswith(b"\r\n\r\n"):
            self.cutter = FrameCutter(masked=True, most_bytes=self.config.ws_max_size)

    def _take_text(self, payload: bytes) -> bool:
        """Queue a text message; False when websockets has to handle it."""
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
        # After our close, messages are dropped, and the peer's close frame is still to be read.
        if self.queue.full and not self.read_paused and not self.close_sent:
            self.read_paused = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """The write buffer is full: start the timer."""
        super().pause_writing()
        self.slow_reader_timer = self.loop.call_later(SLOW_READER_SECS, self._cut_off)

    def resume_writing(self) -> None:
        """The write buffer was read: stop the timer."""
        super().resume_writing()
        self._stop_slow_reader_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost: stop all timers."""
        self._stop_slow_reader_timer()
        if self.abort_timer is not None:
            self.abort_timer.cancel()
            self.abort_timer = None
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        """The peer answers no ping: abort the connection."""
        super().keepalive_timeout()
        self.transport.abort()

    def _stop_slow_reader_timer(self) -> None:
        if self.slow_reader_timer is not None:
            self.slow_reader_timer.cancel()
            self.slow_reader_timer = None

    def _cut_off(self) -> None:
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SLOW_READER})
        self.transport.abort()
