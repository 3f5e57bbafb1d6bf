"""HTTP/1.1 protocol of uvicorn with limits: pipelined requests, slow headers, unread responses.

A connection has a handful of requests in flight. What it sent behind them waits unparsed, and
nothing more is read from it:

    received ─▶ unparsed ─▶ queued ─▶ running ─▶ response     queued + running <= IN_FLIGHT_AT_MOST

In a turn of the event loop, what a few connections sent is parsed, and the others wait.

Headers include the trailers behind a chunked body.

    connected ─┬─ headers ──▶ request … response ─┬─ headers ──▶ …
               └─ HEADERS_WITHIN_SECS ──▶ closed  └─ HEADERS_WITHIN_SECS ──▶ closed
    unread ─┬─ some is read ──▶ unread …
            └─ READS_WITHIN_SECS ──▶ cut off

Such a peer has not authenticated yet, and each open connection takes a file descriptor.
"""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.http.loop_turns import TurnQueue

IN_FLIGHT_AT_MOST = 4
# A peer that sends more behind its requests in flight is answered these, and then closed.
UNPARSED_AT_MOST_BYTES = 65_536
# The parser takes what arrived in pieces that are at least this long and end with a head: a piece
# holds four requests at most.
PIECE_BYTES = 48
# Connections whose bytes are parsed in one turn of the event loop, of all that have sent some.
PARSED_EACH_TURN = 4
END_OF_HEAD = b"\r\n\r\n"
HEADERS_WITHIN_SECS = 15.0
HEADERS_WITHIN_BYTES = 16_384
# A live peer reads some of what waits for it in this time.
READS_WITHIN_SECS = 15.0


class EndlessHeaders(ValueError):
    """The headers of a request are longer than 16 kB."""


class _PausedFlow(FlowControl):
    """Flow control that stays paused while `full`, whoever asks for more."""

    full = False

    def resume_reading(self) -> None:
        """Read again, unless as many requests as allowed are in flight."""
        if not self.full:
            super().resume_reading()


class LimitedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools with limits; headers over 16 kB are answered with 400."""

    flow: _PausedFlow
    _unparsed = b""
    # Of all connections of the server.
    _turns: TurnQueue
    _waits_for_turn = False
    # The request that the app has now; the others in flight wait in `pipeline`.
    _running: RequestResponseCycle | None = None
    _headers_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    # Bytes received since the last piece of a body, or since headers or a message were complete.
    _head_bytes = 0
    _made_progress = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self.flow = _PausedFlow(transport)
        self._turns = self.app_state.setdefault("http_turns", TurnQueue(PARSED_EACH_TURN))
        self._start_headers_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers, and drop what was not answered."""
        self._stop_headers_timer()
        self._stop_unread_timer()
        # uvicorn leaves this timer when a connection is reset, and it would keep all of it.
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        # Break reference cycles, which would wait for a full garbage collection.
        for cycle, _ in self.pipeline:
            cycle.on_response = lambda: None
        self.pipeline.clear()
        self._running = None
        self._unparsed = b""

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, and stop all timers."""
        super().handle_websocket_upgrade()
        self._stop_headers_timer()
        self._stop_unread_timer()
        # Break a reference cycle, which would wait for a full garbage collection.
        self.parser = None  # type: ignore[assignment]

    @property
    def in_flight(self) -> int:
        """Requests of this connection that have not been answered."""
        return len(self.pipeline) + (self._running is not None)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes as far as requests may be in flight; the rest waits."""
        self._unparsed = self._unparsed + data if self._unparsed else data
        if self._waits_for_turn:
            return
        self._waits_for_turn = True
        self._turns.do(self._parse_in_turn)
        if self._waits_for_turn:
            self.flow.full = True
            self.flow.pause_reading()

    def _parse_in_turn(self) -> bool:
        """Parse what waits; whether the connection is open."""
        self._waits_for_turn = False
        if not self._may_parse():
            return False
        self._go_on()
        return True

    def _go_on(self) -> None:
        """Read again, and parse what waits."""
        self.flow.full = False
        self.flow.resume_reading()
        self._parse()

    def _parse(self) -> None:
        """Parse what waits in small pieces, so that few requests begin in one."""
        data, start = self._unparsed, 0
        while start < len(data) and self.in_flight < IN_FLIGHT_AT_MOST and self._may_parse():
            end = data.find(END_OF_HEAD, start + PIECE_BYTES)
            end = len(data) if end < 0 else end + len(END_OF_HEAD)
            self._parse_piece(data[start:end])
            start = end
        self._unparsed = data[start:] if self._may_parse() else b""
        self.flow.full = bool(self._unparsed)
        if self.flow.full:
            self.flow.pause_reading()
        if len(self._unparsed) > UNPARSED_AT_MOST_BYTES:
            self._unparsed = b""
            self.cycle.keep_alive = False

    def _may_parse(self) -> bool:
        """Whether the connection is still HTTP and open."""
        return self.parser is not None and not self.transport.is_closing()

    def _parse_piece(self, data: bytes) -> None:
        """Parse; answer 400 when the headers are too long."""
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
        before = self.cycle
        super().on_headers_complete()
        if self._running is None and self.cycle is not before:
            self._running = self.cycle

    def on_body(self, body: bytes) -> None:
        """A piece of the body was received."""
        self._made_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._made_progress = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the request that waits, or start to wait for the next one."""
        self._running = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self._start_headers_timer()
        if self._unparsed and not self._waits_for_turn:
            self._go_on()

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
