"""uvicorn's HTTP/1.1, with an end to its patience: headers that come slowly, never, or without end.

Those behind a body in chunks (trailers) are headers, too.

    connected ─┬─ headers ──▶ request … response ─┬─ headers ──▶ …
               └─ HEADERS_WITHIN_SECS ──▶ closed  └─ HEADERS_WITHIN_SECS ──▶ closed

Nobody has shown a key or a signature by then, and each open connection is a file of this process.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_WITHIN_SECS = 15.0
HEADERS_WITHIN_BYTES = 16_384


class EndlessHeaders(ValueError):
    """The headers of a request are longer than any that is meant for us."""


class PatientHttp(HttpToolsProtocol):
    """HTTP/1.1 by httptools, which itself takes headers without end; longer ones get a 400."""

    _patience: asyncio.TimerHandle | None = None
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
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: nothing comes here any more, and nobody tells of its end."""
        super().handle_websocket_upgrade()
        self._stop_waiting()
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
