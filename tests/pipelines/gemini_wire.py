"""The other end of Gemini Live's wire: it keeps how each session was opened, and answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from server.emulators.gemini_live.certificate import make_certificate

Answer = Callable[[ServerConnection], Awaitable[None]]


@dataclass(frozen=True)
class Opening:
    """How a session was asked for: the request without what is random in it, the first message."""

    path: str
    headers: list[tuple[str, str]]
    message: str | bytes


async def take_it_on(model: ServerConnection) -> None:
    """The answer to a setup that is in order."""
    await model.send('{"setupComplete": {}}')
    await model.wait_closed()


@asynccontextmanager
async def a_wire(
    folder: Path, environment: pytest.MonkeyPatch, answer: Answer = take_it_on, slash: str = ""
) -> AsyncIterator[list[Opening]]:
    """Listen where the environment then says that Gemini is; the address may end with a slash."""
    opened: list[Opening] = []

    async def talk(model: ServerConnection) -> None:
        assert model.request is not None
        path, headers = model.request.path, model.request.headers.raw_items()
        told = [(name, value) for name, value in headers if name != "Sec-WebSocket-Key"]
        opened.append(Opening(path, told, await model.recv()))
        await answer(model)

    certificate = make_certificate(folder)
    tls = certificate.server_context()
    async with serve(talk, "127.0.0.1", 0, ssl=tls, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        environment.setenv("GOOGLE_GEMINI_BASE_URL", f"https://127.0.0.1:{port}{slash}")
        environment.setenv("SSL_CERT_FILE", str(certificate.ca_file))
        yield opened
