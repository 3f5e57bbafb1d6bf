"""RecordedModel: a Gemini Live on loopback that sends what a cassette holds, at its times.

    cassette   |setupComplete ....... speech speech speech ... toolCall ...... closed 1011|
    replay     |setupComplete ....... speech speech speech ... toolCall ...... closed 1011|

Each connection gets the messages of the connection with its number. They come when they came, or
as soon as there is a connection that has sent its setup.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipelines.recording.tape import Kind
from server.cassettes.cassette import Cassette
from server.cassettes.columns import Message
from server.emulators.gemini_live.certificate import make_certificate

# The client ends these itself, or the end of the call does.
_ENDED_BY_CLIENT = ("1000", "1001", "1005", "1006")
_LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024


class RecordedModel:
    """Serves the connections of a cassette; `began` is its start on the loop's clock."""

    def __init__(self, cassette: Cassette, began: float) -> None:
        self._began = began
        self._connections = 0
        self._numbers: dict[UUID, int] = {}
        self._wires: dict[int, list[Message]] = {}
        for message in cassette.of(Kind.MODEL_IN, Kind.MODEL_CLOSED):
            self._wires.setdefault(message.wire, []).append(message)
        self._last = cassette.duration_secs

    def admit(self, connection: ServerConnection, _: Request) -> Response | None:
        """Refuse a connection that was refused."""
        self._connections += 1
        self._numbers[connection.id] = self._connections
        first = next(iter(self._wires.get(self._connections, [])), None)
        if first is None or first.kind is not Kind.MODEL_CLOSED:
            return None
        code, _, body = first.content.partition(" ")
        if not code.startswith("http-"):
            return None
        return connection.respond(HTTPStatus(int(code.removeprefix("http-"))), body)

    async def serve(self, websocket: ServerConnection) -> None:
        """Play one connection."""
        messages = self._wires.get(self._numbers.pop(websocket.id), [])
        with suppress(ConnectionClosed):
            await websocket.recv()
            reading = asyncio.create_task(_drain(websocket))
            try:
                await self._send_all(websocket, messages)
                await websocket.wait_closed()
            finally:
                reading.cancel()

    async def _send_all(self, websocket: ServerConnection, messages: list[Message]) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            await asyncio.sleep(max(0.0, self._began + message.at - loop.time()))
            if message.kind is Kind.MODEL_IN:
                await websocket.send(message.content.encode())
                continue
            code, _, reason = message.content.partition(" ")
            # What fell with the end of the call fell by our side.
            if code in _ENDED_BY_CLIENT and message.at >= self._last - 1.0:
                return
            if code == "1006":
                websocket.transport.abort()
            elif code != "1005" and code.isdigit():
                await websocket.close(int(code), reason)


@asynccontextmanager
async def recorded_model(cassette: Cassette, began: float) -> AsyncIterator[dict[str, str]]:
    """Serve the cassette's Gemini; gives the environment in which a client finds it."""
    model = RecordedModel(cassette, began)
    with TemporaryDirectory(prefix="voice-ai-cassette-") as folder:
        certificate = make_certificate(Path(folder))
        async with serve(
            model.serve,
            "127.0.0.1",
            0,
            process_request=model.admit,
            ssl=certificate.server_context(),
            compression=None,
            max_size=_LARGEST_MESSAGE_BYTES,
            ping_interval=None,
            close_timeout=1.0,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield {
                "GOOGLE_GEMINI_BASE_URL": f"https://127.0.0.1:{port}",
                "SSL_CERT_FILE": str(certificate.ca_file),
            }


async def _drain(websocket: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in websocket:
            pass
