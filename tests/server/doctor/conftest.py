"""A server and both emulators that the doctor finds well, to be broken in one thing at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.doctor.examine import examine
from server.doctor.findings import Finding
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.gemini_live.certificate import LoopbackCertificate
from server.emulators.twilio import TwilioEmulator
from server.settings.settings import Settings
from tests.server.conftest import OUR_NUMBER, Running, ServerFactory


@dataclass
class Patient:
    """What is examined."""

    server: Running
    twilio: TwilioEmulator
    folder: Path

    async def examine(self, **changes: Any) -> list[Finding]:
        """What the doctor finds with the server's settings, some of them changed."""
        values: dict[str, Any] = {
            "base_url": self.server.url,
            "port": urlsplit(self.server.url).port,
            "database_url": f"sqlite+aiosqlite:///{self.folder / 'calls.db'}",
            "twilio_account_sid": self.twilio.account_sid,
            "twilio_auth_token": self.twilio.auth_token,
            "twilio_phone_number": OUR_NUMBER,
            "twilio_api_base_url": self.twilio.url,
            "gemini_api_key": "the-right-key",
        }
        return await examine(Settings(**values | changes))


@pytest.fixture
async def gemini(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveEmulator]:
    """Gemini on loopback, for everybody in this process."""
    async with GeminiLiveEmulator(api_keys=["the-right-key"]) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
async def patient(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator, tmp_path: Path
) -> AsyncIterator[Patient]:
    """Everything is well."""
    async with start_server(gemini_api_key="the-right-key") as server:
        twilio.voice_urls[OUR_NUMBER] = f"{server.url}/twilio/inbound"
        yield Patient(server, twilio, tmp_path)


@dataclass
class Front:
    """A proxy: its address, and that of the server behind it, which may be set later."""

    url: str
    target: str = ""


@contextlib.asynccontextmanager
async def proxy(
    change: Callable[[bytes], bytes] = bytes, certificate: LoopbackCertificate | None = None
) -> AsyncIterator[Front]:
    """A proxy that changes what it passes on to the server; with TLS or without."""

    async def pump(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(change(data))
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to = urlsplit(front.target)
        there, back = await asyncio.open_connection(to.hostname, to.port)
        await asyncio.gather(pump(reader, back, change), pump(there, writer, bytes))

    tls = certificate.server_context() if certificate else None
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    front = Front(f"{'https' if certificate else 'http'}://127.0.0.1:{port}")
    try:
        yield front
    finally:
        listening.close()


def marked(findings: list[Finding], mark: str) -> dict[str, str]:
    """What is said of each thing with this mark."""
    return {it.name: it.says for it in findings if it.mark == mark}
