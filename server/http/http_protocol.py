"""uvicorn's HTTP/1.1, with an end to its patience.

Headers may come slowly, never, or without end; those behind a body in chunks (trailers), too. An
answer may not be read.

    connected ─┬─ headers ──▶ request … response ─┬─ headers ──▶ …
               └─ HEADERS_WITHIN_SECS ──▶ closed  └─ HEADERS_WITHIN_SECS ──▶ closed
    unread ─┬─ some is read ──▶ unread …
            └─ READS_WITHIN_SECS ──▶ cut off

Nobody has shown a key or a signature by then, and each open connection is a file of this process.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_WITHIN_SECS = 15.0
HEADERS_WITHIN_BYTES = 16_384
# A peer that is there reads some of what waits for it.
READS_WITHIN_SECS = 15.0


class EndlessHeaders(ValueError):
    """The headers of a request are longer than any that is meant for us."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, which itself takes headers without end; longer ones get a 400."""

    _patience: asyncio.TimerHandle | None = None
    _until_read: asyncio.TimerHandle | None = None
    # What came since the last of a body, or since headers or a message were complete.
    _head_bytes = 0
    _got_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        self._relax()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: nothing comes here any more, and nobody tells of its end."""
        super().handle_websocket_upgrade()
        self._stop_waiting()
        self._relax()
        # They know each other, and would wait for a full collection.
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is headers without end."""
        self._got_on = False
        self._head_bytes += len(data)
        super().data_received(data)
        if self._got_on:
            self._head_bytes = 0
        elif self._head_bytes > HEADERS_WITHIN_BYTES and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Its headers are here. Raises: EndlessHeaders, which the parser answers with a 400."""
        self._got_on = True
        if self._head_bytes > HEADERS_WITHIN_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEADERS_WITHIN_BYTES:
                raise EndlessHeaders
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body is here."""
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._got_on = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait_for_headers()

    def pause_writing(self) -> None:
        """More is unread than should be."""
        super().pause_writing()
        self._let_read()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self._relax()

    def _wait_for_headers(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(HEADERS_WITHIN_SECS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
            self._let_read()

    def _let_read(self) -> None:
        self._relax()
        if unread := self.transport.get_write_buffer_size():
            self._until_read = self.loop.call_later(READS_WITHIN_SECS, self._look_again, unread)

    def _look_again(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() >= unread:
            self.transport.abort()
        else:
            self._let_read()

    def _relax(self) -> None:
        if self._until_read is not None:
            self._until_read.cancel()
            self._until_read = None
