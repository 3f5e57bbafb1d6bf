"""uvicorn's HTTP/1.1, with an end to its patience: headers that come slowly, or never, end it.

    connected ─┬─ headers ──▶ request … response ─┬─ headers ──▶ …
               └─ HEADERS_WITHIN_SECS ──▶ closed  └─ HEADERS_WITHIN_SECS ──▶ closed

Nobody has shown a key or a signature by then, and each open connection is a file of this process.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN_SECS = 15.0


class PatientHttp(H11Protocol):
    """HTTP/1.1 by h11, which refuses headers over 16 kB; httptools takes headers without end."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait_for_headers()

    def _wait_for_headers(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(HEADERS_WITHIN_SECS, self._give_up)

    def _give_up(self) -> None:
        upgraded = self.transport.get_protocol() is not self
        answering = self.cycle is not None and not self.cycle.response_complete
        if not upgraded and not answering:
            self.transport.close()
