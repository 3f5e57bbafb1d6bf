"""A Twilio that does not read: its own stream ends, nothing piles up, and nobody else waits."""

import asyncio
import contextlib
import socket as sockets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvloop
from fastapi import FastAPI, Response, WebSocket
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.http import http_protocol as patient_http
from server.http.serving import listen, serving
from server.twilio import media_websocket as patient_socket
from server.twilio.media_websocket import SLOW_READER
from tests.server import conftest
from tests.server.conftest import ServerFactory
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    SILENCE,
    closed_with,
    kinds,
    say,
    start_of,
    token_for,
)

# What the kernel holds for us on either side is not ours to bound: it holds little here.
KERNEL_BYTES = 4_096
LONG = " ".join(["This is a long sentence that nobody listens to."] * 8)


def tight(host: str, port: int) -> sockets.socket:
    """A listening socket whose connections hold little that is unread."""
    bound = listen(host, port)
    bound.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, KERNEL_BYTES)
    return bound


@contextlib.asynccontextmanager
async def deaf(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[ClientConnection]:
    """A client that reads two messages and no more."""
    host, port = url.split("/")[2].split(":")
    own = sockets.socket()
    own.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KERNEL_BYTES)
    own.connect((host, int(port)))
    connection = await connect(
        url, sock=own, max_queue=1, additional_headers=headers, ping_interval=None, proxy=None
    )
    try:
        yield connection
    finally:
        connection.transport.abort()


async def test_whoever_does_not_read_is_cut_off_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patient_socket, "SLOW_READER_SECS", 0.3)
    app = FastAPI()
    sent, codes, over = 0, [], asyncio.Event()

    @app.websocket("/talk")
    async def talk(websocket: WebSocket) -> None:
        nonlocal sent
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("x" * 1_000)
                sent += 1_000
        except WebSocketDisconnect:
            codes.append((await websocket.receive())["code"])
            over.set()

    @app.get("/")
    async def answer() -> str:
        return "here"

    bound = tight("127.0.0.1", 0)
    url = f"127.0.0.1:{bound.getsockname()[1]}"
    async with (
        serving(app, bound),
        httpx.AsyncClient(base_url=f"http://{url}", trust_env=False) as http,
        deaf(f"ws://{url}/talk"),
    ):
        answers = 0
        while not over.is_set():
            answers += (await http.get("/")).json() == "here"
        assert answers > 1
    assert codes == [SLOW_READER]
    assert sent < 500_000


async def test_whoever_reads_late_but_reads_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relaxed = asyncio.Event()

    class Watched(patient_socket.MediaWebSocketProtocol):
        def resume_writing(self) -> None:
            super().resume_writing()
            assert self.patience is None
            relaxed.set()

    monkeypatch.setattr("server.http.serving.MediaWebSocketProtocol", Watched)
    app = FastAPI()

    @app.websocket("/talk")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(300):
            await websocket.send_text("x" * 1_000)
        await websocket.close()

    bound = tight("127.0.0.1", 0)
    url = f"ws://127.0.0.1:{bound.getsockname()[1]}/talk"
    async with serving(app, bound), deaf(url) as late:
        read = [message async for message in late]
    assert len(read) == 300
    assert relaxed.is_set()


@pytest.mark.parametrize("agrees", [True, False])
async def test_a_socket_of_which_the_rest_is_not_read_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    monkeypatch.setattr(patient_socket, "SLOW_READER_SECS", 0.1)
    app, stopped = FastAPI(), asyncio.Event()
    closed: list[patient_socket.MediaWebSocketProtocol] = []

    @app.websocket("/talk")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][patient_socket.DIRECT_SOCKET]
        direct.close_timeout = 0.1
        await stopped.wait()
        # Far less than what makes a sender wait, and more than the kernel holds.
        while direct.transport.get_write_buffer_size() < 10_000:
            await websocket.send_text("x" * 1_000)
        if agrees:
            await websocket.close()
        closed.append(direct)

    bound = tight("127.0.0.1", 0)
    url = f"ws://127.0.0.1:{bound.getsockname()[1]}/talk"
    async with serving(app, bound), deaf(url) as client:
        client.transport.pause_reading()
        stopped.set()
        async with asyncio.timeout(5):
            while not closed or not closed[0].disconnected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert closed[0].transport.is_closing()


@pytest.mark.parametrize("answer_bytes", [20_000, 200_000])
@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
async def test_an_answer_that_is_not_read_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch, answer_bytes: int, more: str
) -> None:
    monkeypatch.setattr(patient_http, "HEADERS_WITHIN_SECS", 0.1)
    monkeypatch.setattr(patient_http, "READS_WITHIN_SECS", 0.1)
    lost = asyncio.Event()
    watched: list[patient_http.LimitedHttpProtocol] = []

    class Watched(patient_http.LimitedHttpProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            watched.append(self)
            lost.set()

    monkeypatch.setattr("server.http.serving.LimitedHttpProtocol", Watched)
    app = FastAPI()
    app.add_api_route("/", lambda: Response("x" * answer_bytes))
    bound = tight("127.0.0.1", 0)
    async with serving(app, bound):
        with sockets.socket() as own:
            own.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KERNEL_BYTES)
            own.connect(bound.getsockname())
            own.send(f"GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode() * 10)
            async with asyncio.timeout(5):
                await lost.wait()
            assert [one.transport.is_closing() for one in watched] == [True]


async def test_an_answer_that_is_read_slowly_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_http, "HEADERS_WITHIN_SECS", 0.05)
    monkeypatch.setattr(patient_http, "READS_WITHIN_SECS", 0.5)
    app = FastAPI()
    app.add_api_route("/", lambda: Response("x" * 60_000))
    bound = tight("127.0.0.1", 0)
    async with serving(app, bound):
        own = sockets.socket()
        own.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KERNEL_BYTES)
        own.connect(bound.getsockname())
        reader, writer = await asyncio.open_connection(sock=own, limit=1_000)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        began, answer = time.monotonic(), b""
        while more := await reader.read(1_000):
            answer += more
            await asyncio.sleep(0.02)
        writer.close()
    assert time.monotonic() - began > 2 * patient_http.READS_WITHIN_SECS
    assert answer.endswith(b"x" * 60_000)


async def test_a_stream_that_does_not_read_ends_and_its_call_goes_on(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(patient_socket, "SLOW_READER_SECS", 0.3)
    monkeypatch.setattr(conftest, "listen", tight)
    twilio.anyone = NoAnswer()
    async with GeminiLiveEmulator(pace=0) as gemini:
        for name, value in gemini.environment().items():
            monkeypatch.setenv(name, value)
        async with start_server() as server:
            call = await server.place(greeting=LONG)
            token = await token_for(server, call)
            url = f"ws{server.url.removeprefix('http')}/twilio/media/{call['id']}"
            headers = {"X-Twilio-Signature": server.sign(url)}
            async with deaf(url, headers) as stream:
                await say(stream, CONNECTED, start_of(call, token), SILENCE)
                slow = 'voice_ai_rejected_requests_total{reason="stream_slow_reader"}'
                await server.until_metric(slow, 1)
            while "life.stream_ended" not in await kinds(server, call):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            # The pipeline is there for the next stream, which Twilio is told to open.
            assert await server.metric(PIPELINES) == 1
            assert [verb.tag for verb in await server.twiml(call)] == ["Connect", "Redirect"]
            assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"
            again = await connect(url, additional_headers=headers, proxy=None)
            await say(again, CONNECTED, start_of(call, await token_for(server, call), "MZ2"))
            await say(again, SILENCE, {"event": "stop", "stop": {}})
            assert await closed_with(again) == 1000


def test_a_socket_that_is_gone_takes_nothing_and_raises_nothing() -> None:
    took: list[bool] = []

    async def scene() -> None:
        app, over = FastAPI(), asyncio.Event()

        @app.websocket("/talk")
        async def talk(websocket: WebSocket) -> None:
            direct = websocket.scope["extensions"][patient_socket.DIRECT_SOCKET]
            await websocket.accept()
            took.append(direct.send_now("hello"))
            while (await direct.receive())["type"] != "websocket.disconnect":
                pass
            took.append(direct.send_now("too late"))
            over.set()

        bound = listen("127.0.0.1", 0)
        async with serving(app, bound):
            url = f"ws://127.0.0.1:{bound.getsockname()[1]}/talk"
            client = await connect(url, proxy=None)
            assert await client.recv() == "hello"
            client.transport.abort()
            await over.wait()

    uvloop.run(scene())  # asyncio's own loop would take it, and drop it
    assert took == [True, False]
