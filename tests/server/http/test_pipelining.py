"""Peers that send many requests at once and read nothing: few are in flight, nothing is kept."""

import asyncio
import contextlib
import gc
import socket as sockets
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ClassVar

import pytest
from fastapi import FastAPI, Response
from starlette.requests import Request

from server.http import http_protocol
from server.http.http_protocol import (
    IN_FLIGHT_AT_MOST,
    PIECE_BYTES,
    UNPARSED_AT_MOST_BYTES,
    LimitedHttpProtocol,
)
from server.http.serving import serving
from tests.server.conftest import Running
from tests.server.http.test_slow_reader import KERNEL_BYTES, tight

SHORTEST = b"GET / HTTP/1.1\r\n\r\n"
# The last piece may hold several of the shortest requests.
AT_MOST = IN_FLIGHT_AT_MOST - 1 + PIECE_BYTES // len(SHORTEST) + 2
# What a connection may hold: a write buffer, and the answer that came on top of it.
WRITE_BUFFER_BYTES = 65_536


class Watched(LimitedHttpProtocol):
    """Keeps what its connections held at most."""

    alive: ClassVar[weakref.WeakSet[LimitedHttpProtocol]]
    seen = 0
    most_in_flight = most_unparsed = most_unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        Watched.alive.add(self)
        Watched.seen += 1

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        Watched.most_in_flight = max(Watched.most_in_flight, self.in_flight)
        Watched.most_unparsed = max(Watched.most_unparsed, len(self._unparsed))
        unsent = self.transport.get_write_buffer_size()
        Watched.most_unsent = max(Watched.most_unsent, unsent)


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("server.http.serving.LimitedHttpProtocol", Watched)
    Watched.alive = weakref.WeakSet()
    Watched.seen = Watched.most_in_flight = Watched.most_unparsed = Watched.most_unsent = 0
    yield
    gc.enable()


@contextlib.asynccontextmanager
async def silent_peers(url: str, sends: bytes, count: int) -> AsyncIterator[None]:
    """Connections that send this as fast as it is taken, and read nothing."""
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    peers, sending = [], []
    for _ in range(count):
        peer = sockets.socket()
        peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KERNEL_BYTES)
        peer.setblocking(False)
        await loop.sock_connect(peer, (host, int(port)))
        peers.append(peer)
        sending.append(asyncio.create_task(loop.sock_sendall(peer, sends)))
    try:
        yield
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for peer in peers:
            peer.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait until this is true."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


PEERS = 4
PATHS = ("/", "/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/metrics", "/calls")


@pytest.mark.parametrize("count", [pytest.param(200, marks=pytest.mark.long), 10_000])
async def test_many_requests_that_nobody_reads_the_answers_of_leave_nothing(
    server: Running, count: int
) -> None:
    sizes = [len((await server.http.get(path)).content) for path in PATHS]
    # Whatever waited for a garbage collection would be there for as long as a call lasts.
    gc.collect()
    gc.disable()
    for path in PATHS:
        before = Watched.seen
        request = SHORTEST.replace(b"/", path.encode(), 1)
        async with silent_peers(server.url, request * count, PEERS):
            await until(lambda: Watched.seen >= before + PEERS)  # noqa: B023
            for _ in range(50):
                await server.http.get("/health/live")
            # Those that sent more than may wait are closed already.
            assert len(Watched.alive) == PEERS + 1 or count > 200
        # All but the test's own client, unless it was idle for too long.
        await until(lambda: len(Watched.alive) <= 1)
    assert 1 < Watched.most_in_flight <= AT_MOST
    assert Watched.most_unparsed <= UNPARSED_AT_MOST_BYTES
    assert Watched.most_unsent <= WRITE_BUFFER_BYTES + max(sizes) + 2_000


async def test_pipelined_requests_are_all_answered_in_their_order() -> None:
    app, bodies = FastAPI(), []

    @app.post("/{number}")
    async def echo(number: int, request: Request) -> Response:
        bodies.append((number, await request.body()))
        await asyncio.sleep(0)
        return Response(f"<{number}>")

    asked = [
        b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (n, len(body), body)
        for n, body in enumerate([b"", b"\r\n\r\n" * 50, b"GET / HTTP/1.1\r\n\r\n", b"x"] * 20)
    ]
    bound = tight("127.0.0.1", 0)
    async with serving(app, bound):
        for size in (1, 7, 100, 10**6):
            bodies.clear()
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            sent = b"".join(asked)
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await writer.drain()
            answers = [await reader.readuntil(b"<%d>" % n) for n in range(len(asked))]
            writer.close()
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert [number for number, _ in bodies] == list(range(len(asked)))
            assert {len(body) for _, body in bodies} == {0, 200, 18, 1}
    assert Watched.most_in_flight <= AT_MOST


async def test_a_peer_that_sends_far_more_than_may_wait_is_answered_what_is_in_flight() -> None:
    app, served = FastAPI(), 0

    @app.get("/")
    async def count() -> Response:
        nonlocal served
        served += 1
        await asyncio.sleep(0.05)
        return Response("here")

    bound = tight("127.0.0.1", 0)
    async with serving(app, bound):
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(SHORTEST * 100_000)
        came = b""
        with contextlib.suppress(ConnectionError):
            came = await reader.read(-1)
        writer.close()
    assert came.count(b"HTTP/1.1 200 OK") <= served <= AT_MOST


async def test_a_request_whose_peer_left_with_others_behind_it_is_told() -> None:
    app, told = FastAPI(), asyncio.Event()

    @app.get("/")
    async def wait(request: Request) -> Response:
        while not await request.is_disconnected():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        told.set()
        return Response("late")

    bound = tight("127.0.0.1", 0)
    async with serving(app, bound):
        _reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(SHORTEST * 2)
        await until(lambda: Watched.most_in_flight == 2)
        writer.transport.abort()
        async with asyncio.timeout(10):
            await told.wait()


def test_the_limits_are_a_handful() -> None:
    assert AT_MOST < 10
    assert http_protocol.UNPARSED_AT_MOST_BYTES <= 65_536
