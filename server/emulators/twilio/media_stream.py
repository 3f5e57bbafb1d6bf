"""Twilio's side of a media stream: a WebSocket that carries one call's sound.

Sources: https://www.twilio.com/docs/voice/media-streams/websocket-messages
and https://www.twilio.com/docs/voice/twiml/stream
"""

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from server.emulators.twilio.callbacks import iso_timestamp
from server.emulators.twilio.errors import Code
from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import PACKET_MS, RATE
from server.emulators.twilio.record import CallRecord
from server.emulators.twilio.signature import HEADER, sign
from server.emulators.twilio.twiml import Stream

HANDSHAKE_WITHIN_SECS = 10.0
CLOSE_WITHIN_SECS = 2.0
# Five seconds of sound that the application does not take in; what comes then is lost.
LONGEST_OUTBOX = 250
_END = ""
_MEDIA = '{"event":"media"'


class StreamFailed(Exception):
    """The stream ended by an error of Twilio's."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MediaStream:
    """One `<Stream>` of one call, from its handshake to its end. Is a LineEnd."""

    def __init__(
        self,
        verb: Stream,
        line: Line,
        record: CallRecord,
        *,
        account_sid: str,
        call_sid: str,
        auth_token: str,
        tell: Callable[[str, Mapping[str, str]], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sid = "MZ" + uuid4().hex
        self._verb = verb
        self._line = line
        self._record = record
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._auth_token = auth_token
        self._tell = tell
        self._tls = tls
        # What is sent, and from when on.
        self._outbox: asyncio.Queue[tuple[float, str]] = asyncio.Queue(LONGEST_OUTBOX)
        self._sequence = 0
        self._chunk = 0
        self._sent_any = self._received_any = self._overflowed = False
        self._socket: ClientConnection | None = None

    def lose(self) -> None:
        """Break the connection as a network does: no close frame, either way."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def run(self) -> None:
        """Carry sound until the application closes the socket (or dies), or an error ends it.

        Cancelled: sends `stop` and closes. Never raises otherwise: errors go into the record.
        """
        try:
            socket = self._socket = await self._handshake()
        except StreamFailed as problem:
            self._failed(problem)
            return
        self._tell("stream-started", self._form("stream-started"))
        self._record.note("stream.started", stream_sid=self.sid, url=self._verb.url)
        self._send_now({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self._send_now(self._start())
        sender = asyncio.create_task(self._send_all(socket))
        self._line.attach(self)
        why, dropped = "hung up", 0
        try:
            why = await self._receive_all(socket)
        except StreamFailed as problem:
            why = problem.message
            self._failed(problem)
        except asyncio.CancelledError:
            dropped = self._line.detach(self)
            self._send_now(self._message("stop", self._stop()))
            self._put(_END)
            await asyncio.wait({sender}, timeout=CLOSE_WITHIN_SECS)
            raise
        finally:
            dropped += self._line.detach(self)
            sender.cancel()
            await socket.close()
            self._record.note(
                "stream.stopped", stream_sid=self.sid, why=why, dropped_ms=dropped * 1000 // RATE
            )
            self._tell("stream-stopped", self._form("stream-stopped"))

    def packet(self, audio: bytes) -> None:
        """Send 20 ms of the person's voice."""
        self._chunk += 1
        payload = base64.b64encode(audio).decode()
        sequence = self._next()
        text = (
            f'{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{self._chunk * PACKET_MS}",'
            f'"payload":"{payload}"}},"streamSid":"{self.sid}"}}'
        )
        if self._line.delivery is not None and self._line.delivery.is_lost():
            return
        if not self._sent_any:
            self._sent_any = True
            self._record.note("media.first_out")
        self._put(text)

    def reached(self, marks: list[str]) -> None:
        """Echo marks."""
        for name in marks:
            self._record.note("mark.echoed", name=name)
            self._send_now(self._message("mark", {"name": name}))

    def pressed(self, key: str) -> None:
        """Send a key."""
        self._send_now(self._message("dtmf", {"track": "inbound_track", "digit": key}))

    async def _handshake(self) -> ClientConnection:
        url = self._verb.url
        parts = urlsplit(url)
        if parts.query:
            raise StreamFailed(Code.STREAM_HANDSHAKE, "A stream URL takes no query string")
        if parts.scheme != "wss" and not (parts.scheme == "ws" and _is_loopback(parts.hostname)):
            raise StreamFailed(Code.STREAM_HANDSHAKE, "A stream URL is wss (ws on loopback)")
        options: dict[str, Any] = {}
        if parts.scheme == "wss" and self._tls is not None:
            options["ssl"] = self._tls
        try:
            return await connect(
                url,
                additional_headers={HEADER: sign(self._auth_token, url)},
                user_agent_header="Twilio.TmeWs/1.0",
                compression=None,
                ping_interval=None,
                open_timeout=HANDSHAKE_WITHIN_SECS,
                close_timeout=CLOSE_WITHIN_SECS,
                proxy=None,
                **options,
            )
        except (OSError, ValueError, WebSocketException) as problem:
            raise StreamFailed(Code.STREAM_HANDSHAKE, f"Handshake failed: {problem}") from None

    async def _send_all(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, text = await self._outbox.get()
                if text == _END:
                    return
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                await socket.send(text)
        except ConnectionClosed:
            return

    async def _receive_all(self, socket: ClientConnection) -> str:
        try:
            async for text in socket:
                self._receive(text)
        except ConnectionClosed as closed:
            return f"died: {closed}"
        return "closed by the application"

    def _receive(self, text: str | bytes) -> None:
        try:
            message = json.loads(text) if isinstance(text, str) else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise StreamFailed(Code.STREAM_PROTOCOL, "A message is not a JSON object in text")
        if message.get("streamSid") != self.sid:
            raise StreamFailed(Code.STREAM_PROTOCOL, "A message is not for this stream")
        match message.get("event"):
            case "media":
                self._media(message)
            case "mark":
                self._mark(message)
            case "clear":
                self._clear()
            case other:
                raise StreamFailed(Code.STREAM_PROTOCOL, f"There is no event {other!r}")

    def _media(self, message: dict[str, Any]) -> None:
        media = message.get("media")
        payload = media.get("payload") if isinstance(media, dict) else None
        try:
            audio = base64.b64decode(payload, validate=True) if isinstance(payload, str) else None
        except binascii.Error:
            audio = None
        if audio is None:
            raise StreamFailed(Code.STREAM_PROTOCOL, "A media message has no base64 payload")
        if not self._received_any:
            self._received_any = True
            self._record.note("media.first_in")
        if not self._line.hear(audio) and not self._overflowed:
            self._overflowed = True
            self._record.error(Code.STREAM_OVERFLOW, "More than 10 minutes waited: dropped")

    def _mark(self, message: dict[str, Any]) -> None:
        mark = message.get("mark")
        name = mark.get("name") if isinstance(mark, dict) else None
        if not isinstance(name, str):
            raise StreamFailed(Code.STREAM_PROTOCOL, "A mark message has no name")
        self._record.note("mark.received", name=name)
        if self._line.mark(name):
            self.reached([name])

    def _clear(self) -> None:
        dropped, marks = self._line.clear()
        self._record.note("clear", dropped_ms=dropped * 1000 // RATE)
        self.reached(marks)

    def _failed(self, problem: StreamFailed) -> None:
        self._record.error(problem.code, problem.message)
        form = self._form("stream-error")
        form["StreamError"] = f"{problem.code:d} - {problem.message}"
        self._tell("stream-error", form)

    def _start(self) -> dict[str, Any]:
        return self._message(
            "start",
            {
                "accountSid": self._account_sid,
                "streamSid": self.sid,
                "callSid": self._call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1},
                "customParameters": self._verb.parameters,
            },
        )

    def _stop(self) -> dict[str, Any]:
        return {"accountSid": self._account_sid, "callSid": self._call_sid}

    def _form(self, event: str) -> dict[str, str]:
        return {
            "AccountSid": self._account_sid,
            "CallSid": self._call_sid,
            "StreamSid": self.sid,
            "StreamName": self._verb.name or self.sid,
            "StreamEvent": event,
            "Timestamp": iso_timestamp(),
        }

    def _message(self, event: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "event": event,
            "sequenceNumber": self._next(),
            event: content,
            "streamSid": self.sid,
        }

    def _next(self) -> str:
        self._sequence += 1
        return str(self._sequence)

    def _send_now(self, message: Mapping[str, Any]) -> None:
        self._put(json.dumps(message))

    def _put(self, text: str) -> None:
        due = asyncio.get_running_loop().time()
        if self._line.delivery is not None and text.startswith(_MEDIA):
            due += self._line.delivery.late_secs(due - self._line.answered_at)
        try:
            self._outbox.put_nowait((due, text))
        except asyncio.QueueFull:
            if not self._record.first("media.lost"):
                self._record.note("media.lost")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False
