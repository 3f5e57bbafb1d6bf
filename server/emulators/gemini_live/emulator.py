"""A Gemini Live of your own on loopback: TLS, keys, sessions, and what goes wrong with them.

Source: ai.google.dev/api/live. google-genai finds it by `GOOGLE_GEMINI_BASE_URL` and trusts it by
`SSL_CERT_FILE`.
"""

import asyncio
import hmac
import re
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from server.emulators.gemini_live.behaviour import Behaviour
from server.emulators.gemini_live.certificate import LoopbackCertificate, make_certificate
from server.emulators.gemini_live.faults import ConnectFault
from server.emulators.gemini_live.resumption import Resumption
from server.emulators.gemini_live.script import Script
from server.emulators.gemini_live.session import INVALID_ARGUMENT, POLICY, Session
from server.emulators.gemini_live.session_log import Changes, Event

PATH = re.compile(
    r"/ws/google\.ai\.generativelanguage\.v1(alpha|beta)\.GenerativeService\.BidiGenerateContent"
)
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024
CLOSE_TIMEOUT_SECS = 1.0


class GeminiLiveEmulator:
    """`async with GeminiLiveEmulator(script) as emulator:` serves until the block ends.

    `script` answers every session, or `choose_script(setup)` picks one for each. `api_keys`: None
    takes every key, but no client without one. `errors` collects what the script or a client did
    wrong: tests look at it last. `faults` strike connects; `behaviour` and the script of sessions
    to come may change at any time. `on_event` is told whatever happens. The other arguments are
    those of `Behaviour`.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        choose_script: Callable[[dict[str, Any]], Script] | None = None,
        api_keys: Iterable[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        setup_secs: float = 0.0,
        thinking_secs: float = 0.05,
        pace: float = 4.0,
        chunk_ms: int = 40,
        turn_complete: Literal["at_once", "after_playback"] = "at_once",
        connection_life_secs: float | None = None,
        go_away_secs: float = 10.0,
        resume_while_open: Literal["accept", "refuse"] = "accept",
        on_event: Callable[[Session, Event], None] | None = None,
    ) -> None:
        self.script = Script.default() if script is None else script
        self.behaviour = Behaviour(
            setup_secs=setup_secs,
            thinking_secs=thinking_secs,
            pace=pace,
            chunk_ms=chunk_ms,
            turn_complete=turn_complete,
            connection_life_secs=connection_life_secs,
            go_away_secs=go_away_secs,
            resume_while_open=resume_while_open,
        )
        self.faults: list[ConnectFault] = list(self.script.connects)
        self.sessions: list[Session] = []
        self.errors: list[Exception] = []
        self.connects = 0
        self.resumption = Resumption()
        self._choose_script = choose_script
        self._api_keys = None if api_keys is None else frozenset(api_keys)
        self._host, self._port = host, port
        self._on_event = on_event
        self._changes = Changes()
        self._hearing = asyncio.Lock()
        self._connect_faults: dict[UUID, ConnectFault] = {}
        self._folder: TemporaryDirectory[str] | None = None
        self._certificate: LoopbackCertificate | None = None
        self._tls: ssl.SSLContext | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """For `GOOGLE_GEMINI_BASE_URL`."""
        return f"https://{self._host}:{self._port}"

    @property
    def ca_file(self) -> Path:
        """PEM of the authority to trust, for `SSL_CERT_FILE`."""
        assert self._certificate is not None, "the emulator is not open"
        return self._certificate.ca_file

    def present(self, certificate: LoopbackCertificate) -> None:
        """Show this certificate to clients from now on, for instance one that has expired."""
        assert self._tls is not None, "the emulator is not open"
        self._certificate = certificate
        self._tls.load_cert_chain(certificate.certificate_file, certificate.key_file)

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that trusts the emulator alone."""
        assert self._certificate is not None, "the emulator is not open"
        return self._certificate.client_context()

    def environment(self) -> dict[str, str]:
        """What the environment of a client needs to find and trust the emulator."""
        return {"GOOGLE_GEMINI_BASE_URL": self.url, "SSL_CERT_FILE": str(self.ca_file)}

    async def until(self, true: Callable[[], bool], timeout: float = 10.0) -> None:
        """Return when `true()`; it is asked after whatever happens in any session.

        Raises: TimeoutError.
        """
        await self._changes.until(true, timeout)

    async def session(self, index: int = 0, timeout: float = 10.0) -> Session:
        """The n-th session, from 0, once it is set up.

        Raises: TimeoutError.
        """
        await self.until(
            lambda: len(self.sessions) > index and self.sessions[index].is_set_up, timeout
        )
        return self.sessions[index]

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="voice-ai-gemini-")
        try:
            self._certificate = make_certificate(Path(self._folder.name))
            self._tls = self._certificate.server_context()
            self._server = await serve(
                self._serve,
                self._host,
                self._port,
                ssl=self._tls,
                process_request=self._admit,
                compression=None,
                max_size=LARGEST_MESSAGE_BYTES,
                ping_interval=None,
                close_timeout=CLOSE_TIMEOUT_SECS,
                server_header=None,
            )
        except BaseException:
            self._folder.cleanup()
            raise
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._folder is not None
        self._server.close(code=1001, reason="The emulator stops.")
        await self._server.wait_closed()
        self._folder.cleanup()

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if not PATH.fullmatch(urlsplit(request.path).path):
            return connection.respond(HTTPStatus.NOT_FOUND, "Not found.\n")
        self.connects += 1
        self._changes.happened()
        fault = next((fault for fault in self.faults if fault.concerns(self.connects)), None)
        if fault is None:
            return None
        if fault.http_status is not None:
            return connection.respond(HTTPStatus(fault.http_status), f"{fault.reason}\n")
        self._connect_faults[connection.id] = fault
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        fault = self._connect_faults.pop(websocket.id, None)
        if fault is not None and fault.stall:
            await websocket.wait_closed()
            return
        refusal = self._refusal_of_key(websocket.request)
        if fault is not None and fault.close is not None:
            refusal = fault.close, fault.reason
        if refusal is not None:
            with suppress(ConnectionClosed):
                await websocket.recv()
            await websocket.close(*refusal)
            return
        session = Session(
            websocket,
            number=len(self.sessions) + 1,
            behaviour=self.behaviour,
            choose_script=self._script_for,
            resumption=self.resumption,
            errors=self.errors,
            changes=self._changes,
            hearing=self._hearing,
            told=self._on_event,
        )
        self.sessions.append(session)
        self._changes.happened()
        await session.run()

    def _script_for(self, setup: dict[str, Any]) -> Script:
        return self.script if self._choose_script is None else self._choose_script(setup)

    def _refusal_of_key(self, request: Request | None) -> tuple[int, str] | None:
        assert request is not None
        query = parse_qs(urlsplit(request.path).query)
        key = request.headers.get("x-goog-api-key") or query.get("key", [""])[0]
        if not key:
            return POLICY, "Method doesn't allow unregistered callers. Please use an API key."
        known = self._api_keys
        if known is not None and not any(
            hmac.compare_digest(key.encode(), mine.encode()) for mine in known
        ):
            return INVALID_ARGUMENT, "API key not valid. Please pass a valid API key."
        return None
