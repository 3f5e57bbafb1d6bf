"""A telephone under load: one media stream of one call, from its handshake to its end.

It speaks from prepared packets, hears without a buffer, and echoes marks when they are reached.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import asyncio
import audioop
import base64
import json
import os
from binascii import a2b_base64
from collections import deque
from collections.abc import Mapping
from time import monotonic
from urllib.parse import urlsplit
from uuid import uuid4

from server.bench.load.frames import CLOSE, TEXT, WebSocketEnd, client_frame
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import SEQUENCES, Ear
from server.bench.load.pacer import Pacer
from server.bench.load.sounds import (
    PACKET_MS,
    PACKETS_BETWEEN_MARKERS,
    PHONE_RATE,
    caller_markers,
    caller_speech,
    silent_packet,
)
from server.bench.load.trail import Sent
from server.emulators.twilio.signature import HEADER, sign

# A caller listens first, longer than an answer may be shielded, and then speaks on and on.
LISTENS_FIRST_SECS = 1.8
CLOSES_WITHIN_SECS = 5.0


class LoadPhone(WebSocketEnd):
    """`await run()` carries the stream until the application closes it, or is cancelled."""

    def __init__(
        self,
        call: LoadedCall,
        pacer: Pacer,
        *,
        url: str,
        parameters: Mapping[str, str],
        account_sid: str,
        call_sid: str,
        auth_token: str,
    ) -> None:
        super().__init__(client_frame)
        self.sid = "MZ" + uuid4().hex
        self._call = call
        self._pacer = pacer
        self._url = url
        self._parameters = dict(parameters)
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._auth_token = auth_token
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ear = Ear(PHONE_RATE)
        self._marks: deque[tuple[float, str]] = deque()
        self._mine = f'"{self.sid}"'.encode()
        self._speech = caller_speech()
        self._markers = caller_markers(call.index)
        self._messages = 0
        self._packets = 0
        self._spoken = -int(LISTENS_FIRST_SECS * 1000 / PACKET_MS)

    async def run(self) -> str:
        """Carry the call's sound; why the stream ended. Raises: OSError without a connection."""
        parts = urlsplit(self._url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, parts.hostname or "", parts.port or 80)
        try:
            return await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            await self._stop()
            raise
        finally:
            self._pacer.remove(self._speak)
            self.transport.abort()

    async def _stop(self) -> None:
        self._pacer.remove(self._speak)
        if self.is_open:
            stop = {"accountSid": self._account_sid, "callSid": self._call_sid}
            self._send(json.dumps(self._message("stop", stop)))
            self.transport.write(client_frame(CLOSE, (1000).to_bytes(2)))
        await asyncio.wait({self._closed}, timeout=CLOSES_WITHIN_SECS)

    # --- the connection -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        super().connection_made(transport)
        parts = urlsplit(self._url)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"User-Agent: Twilio.TmeWs/1.0\r\n{HEADER}: {sign(self._auth_token, self._url)}\r\n\r\n"
        )
        self.transport.write(request.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """The application went."""
        self._end("the connection was lost")

    def shake_hands(self, head: bytes) -> None:
        """The application's answer: begin to speak, unless it refuses."""
        if b" 101 " not in head.split(b"\r\n")[0]:
            self.wrong(f"no stream: {head.decode(errors='replace')[:80]!r}")
            return
        self._begin()

    def closed(self, reason: bytes) -> None:
        """The application closes the stream."""
        self._end("closed by the application")

    def wrong(self, problem: str) -> None:
        """Note a problem and end the stream."""
        self._call.problems.append(problem)
        self._end(problem)

    # --- what is said ---------------------------------------------------------------------

    def _begin(self) -> None:
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        self._send(json.dumps(connected))
        start = {
            "accountSid": self._account_sid,
            "streamSid": self.sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": PHONE_RATE, "channels": 1},
            "customParameters": self._parameters,
        }
        self._send(json.dumps(self._message("start", start)))
        self._call.started_at = monotonic()
        self._pacer.add(self._speak, self._call.index * 7)

    def _speak(self) -> None:
        """Every 20 ms: the marks that were reached, and a packet."""
        if self.transport.is_closing():
            return
        while self._marks and self._marks[0][0] <= monotonic():
            self._echo(self._marks.popleft()[1])
        if self._call.quiet:
            return
        spoken = self._spoken
        self._spoken = spoken + 1
        if spoken < 0:
            sound = silent_packet()
        elif spoken % PACKETS_BETWEEN_MARKERS:
            sound = self._speech[spoken % len(self._speech)]
        else:
            number = spoken // PACKETS_BETWEEN_MARKERS % SEQUENCES
            sound = self._markers[number]
            self._call.up.send(Sent(number, monotonic(), spoken * PACKET_MS, False))
        self._packets = chunk = self._packets + 1
        self._messages = sequence = self._messages + 1
        self._send(
            f'{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound",'
            f'"chunk":"{chunk}","timestamp":"{chunk * PACKET_MS}","payload":"{sound}"}},'
            f'"streamSid":"{self.sid}"}}'
        )

    def _echo(self, name: str) -> None:
        self._send(json.dumps(self._message("mark", {"name": name})))

    def _message(self, event: str, content: Mapping[str, object]) -> dict[str, object]:
        self._messages += 1
        return {
            "event": event,
            "sequenceNumber": str(self._messages),
            event: content,
            "streamSid": self.sid,
        }

    def _send(self, text: str) -> None:
        self.transport.write(client_frame(TEXT, text.encode()))

    # --- what is heard --------------------------------------------------------------------

    def take(self, payload: bytes, at: float) -> None:
        """A message from the application."""
        if self._mine not in payload:
            self.wrong(f"a message for another stream: {payload[:80]!r}")
            return
        found = payload.find(b'"payload"')
        if found < 0:
            self._read(payload, at)
            return
        start = payload.index(b'"', found + 9) + 1
        mulaw = a2b_base64(payload[start : payload.index(b'"', start)])
        self._call.sounds.set()
        self._call.playout.hear(len(mulaw), at)
        heard = self._ear.hear(audioop.ulaw2lin(mulaw, 2), at)
        if heard is None:
            return
        sent = self._call.down.hear(heard)
        begins_reply = sent is not None and sent.begins_reply
        self._call.playout.marker(heard.onset, begins_reply=begins_reply)

    def _read(self, payload: bytes, at: float) -> None:
        message = json.loads(payload)
        if message["event"] == "mark":
            self._marks.append((self._call.playout.ends_at, message["mark"]["name"]))
        elif message["event"] == "clear":
            self._call.playout.clear(at)
            while self._marks:
                self._echo(self._marks.popleft()[1])
        else:
            self.wrong(f"there is no event {message['event']!r}")

    def _end(self, why: str) -> None:
        if not self._closed.done():
            self._closed.set_result(why)
