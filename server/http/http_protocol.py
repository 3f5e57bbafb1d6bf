"""HTTP/1.1 protocol of uvicorn with timeouts: slow or endless headers, unread responses.

Headers include the trailers behind a chunked body.

    connected ─┬─ headers ──▶ request … response ─┬─ headers ──▶ …
               └─ HEADERS_WITHIN_SECS ──▶ closed  └─ HEADERS_WITHIN_SECS ──▶ closed
    unread ─┬─ some is read ──▶ unread …
            └─ READS_WITHIN_SECS ──▶ cut off

Such a peer has not authenticated yet, and each open connection takes a file descriptor.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_WITHIN_SECS = 15.0
HEADERS_WITHIN_BYTES = 16_384
# A live peer reads some of what waits for it in this time.
READS_WITHIN_SECS = 15.0


class EndlessHeaders(ValueError):
    """The headers of a request are longer than 16 kB."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools with timeouts; headers over 16 kB are answered with 400."""

    _headers_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    # Bytes received since the last piece of a body, or since headers or a message were complete.
    _head_bytes = 0
    _made_progress = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._start_headers_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_headers_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, and stop all timers."""
        super().handle_websocket_upgrade()
        self._stop_headers_timer()
        self._stop_unread_timer()
        # Break a reference cycle, which would wait for a full garbage collection.
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; answer 400 when the headers are too long."""
        self._made_progress = False
        self._head_bytes += len(data)
        super().data_received(data)
        if self._made_progress:
            self._head_bytes = 0
        elif self._head_bytes > HEADERS_WITHIN_BYTES and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Headers are complete. Raises: EndlessHeaders, which the parser answers with a 400."""
        self._made_progress = True
        if self._head_bytes > HEADERS_WITHIN_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEADERS_WITHIN_BYTES:
                raise EndlessHeaders
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body was received."""
        self._made_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._made_progress = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        super().on_response_complete()
        self._start_headers_timer()

    def pause_writing(self) -> None:
        """The write buffer is full: start the timer."""
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        """The write buffer was read: stop the timer."""
        super().resume_writing()
        self._stop_unread_timer()

    def _start_headers_timer(self) -> None:
        self._stop_headers_timer()
        self._headers_timer = self.loop.call_later(HEADERS_WITHIN_SECS, self._headers_are_late)

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _headers_are_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
            self._start_unread_timer()

    def _start_unread_timer(self) -> None:
        self._stop_unread_timer()
        if unread := self.transport.get_write_buffer_size():
            self._unread_timer = self.loop.call_later(READS_WITHIN_SECS, self._check_unread, unread)

    def _check_unread(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._start_unread_timer()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
