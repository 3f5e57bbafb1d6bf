"""How the app stands on its socket: what a peer may send before it is anybody."""

import asyncio
import socket

import httpx
import pytest

from server.http import http_protocol
from server.http.serving import held_port, listen
from tests.server.conftest import Running

ENDLESS_BYTES = 20_000_000
GET = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


CHUNKED = b"POST /calls HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"GET /health HTTP/1.1\r\nHost: a\r\nX-Long: ", b"x"),
        (CHUNKED, b"X-More: all that there is to say\r\n"),
    ],
    ids=["before a body", "behind one"],
)
async def test_headers_that_never_end_are_refused_before_they_fill_the_memory(
    server: Running, begins: bytes, goes_on: bytes
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(begins)
    more = goes_on * (65_536 // len(goes_on))
    sent = 0
    try:
        while sent < ENDLESS_BYTES:
            writer.write(more)
            sent += len(more)
            await writer.drain()
    except OSError:
        pass  # closed by the server
    writer.close()
    assert sent < ENDLESS_BYTES
    assert (await server.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: "]
)
async def test_a_peer_that_asks_for_nothing_is_let_go(
    server: Running, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_WITHIN_SECS", 0.05)
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    assert await reader.read() == b""
    writer.close()


async def test_a_peer_that_is_slow_after_its_first_request_is_let_go_too(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_WITHIN_SECS", 0.2)
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /health HTTP/1.1\r\nX-Slow: ")
    assert (await reader.read()).count(b"HTTP/1.1 200") == 1
    writer.close()


async def test_a_request_that_takes_long_to_answer_is_not(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await server.place()
    monkeypatch.setattr(http_protocol, "HEADERS_WITHIN_SECS", 0.05)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as fresh:
        answer = await fresh.get(f"/calls/{call['id']}/result", params={"wait": 0.5})
    assert answer.status_code == 202


@pytest.mark.parametrize("whole", [20_000 // len(GET), 2])
async def test_requests_that_come_together_are_no_long_headers(server: Running, whole: int) -> None:
    body = b"x" * (20_000 - whole * len(GET))
    post = b"POST /calls HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(post + GET * whole + GET[:10])
    assert await refusals_before(reader, whole) == 1  # the POST has no key
    writer.write(GET[10:])
    assert await refusals_before(reader, 1) == 0
    writer.close()


async def refusals_before(reader: asyncio.StreamReader, times: int) -> int:
    """Wait for so many answers that all is well; returns how many others came before them."""
    came = b""
    for _ in range(times):
        came += await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    return came.count(b"HTTP/1.1 ") - times


ASKS_FOR_A_SOCKET = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    "asked",
    [
        b"GET / HTTP/1.1\r\n" + ASKS_FOR_A_SOCKET + b"Content-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + ASKS_FOR_A_SOCKET + b"X: a\r\n" * 200 + b"\r\n",
    ],
    ids=["with a body", "with many headers"],
)
async def test_a_request_for_a_websocket_that_is_none_is_refused(
    server: Running, asked: bytes
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(asked)
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


def test_a_held_port_is_given_to_nobody_but_who_asks_for_it() -> None:
    with held_port() as port:
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with listen("127.0.0.1", port) as server:
            server.listen()
            with socket.create_connection(("127.0.0.1", port)):
                assert server.accept()
