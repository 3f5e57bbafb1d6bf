"""The client of all calls: by which way it comes to the model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from google.genai import types

from pipelines.gemini_client import GeminiClient
from server.emulators.gemini_live import GeminiLiveEmulator, Script

CONFIG = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "WSS_PROXY", "WS_PROXY", "ALL_PROXY", "NO_PROXY")


class Proxy:
    """An HTTP proxy that opens tunnels, and knows to where."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split(" ", 2)
        self.asked.append(f"{method} {where}")
        host, port = where.rsplit(":", 1)
        from_model, to_model = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_hand_on(reader, to_model), _hand_on(from_model, writer))


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveEmulator]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    async with GeminiLiveEmulator(Script.parse({"rules": []})) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator


@asynccontextmanager
async def a_proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy


async def test_it_goes_through_the_proxy_that_the_environment_names(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = GeminiClient("a-key")
        for _ in range(2):
            async with client.connect(CONFIG):
                pass
    assert proxy.asked == [f"CONNECT {emulator.url.removeprefix('https://')}"] * 2
    assert len(emulator.sessions) == 2


async def test_it_goes_past_a_proxy_that_the_environment_takes_the_model_from(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with GeminiClient("a-key").connect(CONFIG):
            pass
    assert proxy.asked == []
    assert len(emulator.sessions) == 1


@pytest.mark.parametrize("bypass", [None, "localhost"])
async def test_where_no_proxy_is_named_none_is_looked_for(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch, bypass: str | None
) -> None:
    if bypass is not None:
        monkeypatch.setenv("NO_PROXY", bypass)
    client = GeminiClient("a-key")
    async with a_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client.connect(CONFIG):
            pass
    assert proxy.asked == []
    assert len(emulator.sessions) == 1
