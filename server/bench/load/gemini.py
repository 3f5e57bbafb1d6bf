"""A Gemini Live that understands nothing and speaks without end: TLS, sessions, prepared sound.

Which call a session belongs to is heard from the caller's first marker. From then on it speaks;
before, it only says its greeting when it is asked to.

Source: ai.google.dev/api/live.
"""

import asyncio
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from uuid import uuid4

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from pipelines.rates import GEMINI_HEARS_AT, PACKET_MS
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import Ear
from server.bench.load.pacer import Pacer
from server.bench.load.replies import Replies, frame, greeting
from server.bench.load.websocket_end import WebSocketEnd
from server.emulators.gemini_live import server_messages as messages
from server.emulators.gemini_live.certificate import make_certificate
from server.emulators.gemini_live.emulator import PATH

_RATE = re.compile(r"rate=(\d+)")


class LoadGemini:
    """Serves as long as `serving` lasts. `calls` are those that a marker may name, by index."""

    def __init__(self, pacer: Pacer, calls: Mapping[int, LoadedCall]) -> None:
        self.pacer = pacer
        self.calls = calls
        self.sessions: set[LoadSession] = set()
        # What sessions did that no real one would take.
        self.problems: list[str] = []
        self._environment: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """What the environment of a client needs to find and trust it."""
        return self._environment

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Listen on a free port of this machine, with a certificate of its own."""
        with TemporaryDirectory(prefix="voice-ai-load-") as folder:
            certificate = make_certificate(Path(folder))
            server = await asyncio.get_running_loop().create_server(
                lambda: LoadSession(self), "127.0.0.1", 0, ssl=certificate.server_context()
            )
            port = server.sockets[0].getsockname()[1]
            self._environment = {
                "GOOGLE_GEMINI_BASE_URL": f"https://127.0.0.1:{port}",
                "SSL_CERT_FILE": str(certificate.ca_file),
            }
            try:
                yield self
            finally:
                server.close()
                for session in tuple(self.sessions):
                    session.transport.abort()


class LoadSession(WebSocketEnd):
    """One connection of a client."""

    protocol: ServerProtocol

    def __init__(self, gemini: LoadGemini) -> None:
        super().__init__(ServerProtocol(max_size=None))
        self._gemini = gemini
        self._is_set_up = False
        self._call: LoadedCall | None = None
        self._replies: Replies | None = None
        self._ear: Ear | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connects."""
        super().connection_made(transport)
        self._gemini.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._gemini.sessions.discard(self)
        self._gemini.pacer.remove(self._speak)

    def shake_hands(self, head: Request | Response) -> None:
        """Accept a request for the Live API that has a key."""
        assert isinstance(head, Request)
        path, _, query = head.path.partition("?")
        if not PATH.fullmatch(path) or not ("x-goog-api-key" in head.headers or "key=" in query):
            self.wrong(f"a request for {path} or without a key")
            return
        self.protocol.send_response(self.protocol.accept(head))

    def closed(self) -> None:
        """The client closes."""
        self.flush()
        self.transport.close()

    def wrong(self, problem: str) -> None:
        """Note a problem and tear the connection down."""
        (self._gemini if self._call is None else self._call).problems.append(problem)
        self.transport.abort()

    def take(self, payload: bytes, at: float) -> None:
        """A message. The SDK writes its names and its base64 in another way than the API's docs."""
        message = json.loads(payload)
        if not self._is_set_up:
            if "setup" not in message:
                self.wrong("the first message was no setup")
                return
            self._is_set_up = True
            self.transport.write(frame(messages.setup_complete(uuid4().hex)))
            return
        said = message.get("realtimeInput") or message.get("realtime_input") or {}
        turns = message.get("clientContent") or message.get("client_content") or {}
        if audio := said.get("audio"):
            if self._ear is None:
                rate = _RATE.search(str(audio.get("mimeType") or audio.get("mime_type")))
                self._ear = Ear(int(rate[1]) if rate else GEMINI_HEARS_AT)
            self._listen(self._ear, urlsafe_b64decode(audio["data"]), at)
        elif "text" in said or turns.get("turnComplete", turns.get("turn_complete")):
            self.transport.write(greeting())

    def _listen(self, ear: Ear, pcm: bytes, at: float) -> None:
        heard = ear.hear(pcm, at)
        if heard is None:
            return
        if self._call is None:
            call = self._gemini.calls.get(heard.marker.call) if heard.marker else None
            if call is None:
                self.wrong("the first marker that came is nobody's")
                return
            self._begin(call, ear.rate)
        assert self._call is not None
        self._call.up.hear(heard)

    def _begin(self, call: LoadedCall, rate: int) -> None:
        self._call = call
        call.sessions += 1
        if call.sessions > 1:
            call.problems.append("its session with the model was opened again")
        call.up.rate = rate
        self._replies = Replies(call)
        self._gemini.pacer.add(self._speak, call.index * 7 + PACKET_MS // 2)

    def _speak(self) -> None:
        """Every 20 ms: send what is due."""
        assert self._replies is not None
        if not self.transport.is_closing() and (due := self._replies.beat()):
            self.transport.write(due)
