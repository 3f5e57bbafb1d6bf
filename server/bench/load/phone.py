"""A telephone under load: one media stream of one call, from its handshake to its end.

It speaks from prepared packets, hears without a buffer, and echoes marks when they are reached.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import asyncio
import audioop
import json
from binascii import a2b_base64
from collections import deque
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.uri import parse_uri

from pipelines.rates import PACKET_MS, PHONE_RATE
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import SEQUENCES, Ear
from server.bench.load.pacer import Pacer
from server.bench.load.sounds import (
    PACKETS_BETWEEN_MARKERS,
    SILENT_PACKET,
    caller_markers,
    caller_speech,
)
from server.bench.load.trail import Sent
from server.bench.load.websocket_end import WebSocketEnd
from server.emulators.twilio.media_stream import MediaStream
from server.emulators.twilio.signature import HEADER, sign

# A caller listens first, longer than an answer may be shielded, and then speaks on and on.
LISTENS_FIRST_SECS = 1.8
CLOSES_WITHIN_SECS = 5.0


class LoadPhone(WebSocketEnd, MediaStream):
    """`await run()` carries the stream until the application closes it, or is cancelled.

    `args` and `options` are those of a MediaStream.
    """

    protocol: ClientProtocol

    def __init__(self, loaded: LoadedCall, pacer: Pacer, *args: Any, **options: Any) -> None:
        MediaStream.__init__(self, *args, **options)
        WebSocketEnd.__init__(self, ClientProtocol(parse_uri(self._verb.url), max_size=None))
        self._call = loaded
        self._pacer = pacer
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ear = Ear(PHONE_RATE)
        self._marks: deque[tuple[float, str]] = deque()
        self._speech = caller_speech()
        self._markers = caller_markers(loaded.index)
        self._spoken = -int(LISTENS_FIRST_SECS * 1000 / PACKET_MS)

    async def run(self) -> None:
        """Carry the call's sound; that it ends before the call is hung up is a problem."""
        parts = urlsplit(self._verb.url)
        loop = asyncio.get_running_loop()
        self._tell("stream-started", self._form("stream-started"))
        try:
            await loop.create_connection(lambda: self, parts.hostname or "", parts.port or 80)
            why = await self._until_closed()
            self._call.problems.append(f"its stream ended before it was hung up: {why}")
        except OSError as problem:
            self._call.problems.append(f"no stream: {problem}")
        finally:
            self._tell("stream-stopped", self._form("stream-stopped"))

    async def _until_closed(self) -> str:
        try:
            return await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            self._pacer.remove(self._speak)
            self._send_now(self._message("stop", self._stop()))
            if self.is_open:
                self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self.flush()
            await asyncio.wait({self._closed}, timeout=CLOSES_WITHIN_SECS)
            raise
        finally:
            self._pacer.remove(self._speak)
            self.transport.abort()

    def _end(self, why: str) -> None:
        if not self._closed.done():
            self._closed.set_result(why)

    # --- the connection -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        super().connection_made(transport)
        request = self.protocol.connect()
        request.headers["User-Agent"] = "Twilio.TmeWs/1.0"
        request.headers[HEADER] = sign(self._auth_token, self._verb.url)
        self.protocol.send_request(request)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The application went."""
        self._end("the connection was lost")

    def shake_hands(self, head: Request | Response) -> None:
        """The application's answer: begin to speak, unless it refuses."""
        if self.protocol.handshake_exc is None:
            self._send_now({"event": "connected", "protocol": "Call", "version": "1.0.0"})
            self._send_now(self._start())
            self._pacer.add(self._speak, self._call.index * 7)

    def closed(self) -> None:
        """The application closes the stream."""
        self._end("closed by the application")

    def wrong(self, problem: str) -> None:
        """Note a problem and end the stream."""
        self._call.problems.append(problem)
        self._end(problem)

    # --- what is said ---------------------------------------------------------------------

    def _put(self, text: str) -> None:
        if self.is_open:
            self.protocol.send_text(text.encode())
            self.flush()

    def _speak(self) -> None:
        """Every 20 ms: the marks that were reached, and a packet."""
        if not self.is_open:
            return
        while self._marks and self._marks[0][0] <= monotonic():
            self.reached([self._marks.popleft()[1]])
        if self._call.quiet:
            return
        spoken = self._spoken
        self._spoken = spoken + 1
        if spoken < 0:
            self.packet(SILENT_PACKET)
        elif spoken % PACKETS_BETWEEN_MARKERS:
            self.packet(self._speech[spoken % len(self._speech)])
        else:
            number = spoken // PACKETS_BETWEEN_MARKERS % SEQUENCES
            self._call.up.send(Sent(number, monotonic(), spoken * PACKET_MS, False))
            self.packet(self._markers[number])

    # --- what is heard --------------------------------------------------------------------

    def take(self, payload: bytes, at: float) -> None:
        """A message from the application."""
        message = json.loads(payload)
        if message["streamSid"] != self.sid:
            self.wrong(f"a message for another stream: {payload[:80]!r}")
            return
        playout = self._call.playout
        match message["event"]:
            case "media":
                self._hear(a2b_base64(message["media"]["payload"]), at)
            case "mark":
                self._marks.append((playout.ends_at, message["mark"]["name"]))
            case "clear":
                playout.clear(at)
                self.reached([name for _, name in self._marks])
                self._marks.clear()
            case other:
                self.wrong(f"there is no event {other!r}")

    def _hear(self, mulaw: bytes, at: float) -> None:
        playout = self._call.playout
        playout.hear(len(mulaw), at)
        heard = self._ear.hear(audioop.ulaw2lin(mulaw, 2), at)
        if heard is not None:
            sent = self._call.down.hear(heard)
            playout.marker(heard.onset, begins_reply=sent is not None and sent.begins_reply)
