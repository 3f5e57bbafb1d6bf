"""Request bodies are whole or refused: by size, and by the time that they take."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message

from server.http import body_limit
from server.http.body_limit import BODY_LIMIT_BYTES, BodyLimit
from tests.server.conftest import Running
from tests.server.routes.test_bad_input import rejected


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


async def test_a_client_that_left_is_not_answered() -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("there is nobody")

    async def left() -> Message:
        return {"type": "http.disconnect"}

    await BodyLimit(never, never)({"type": "http"}, left, never)


@pytest.fixture
async def limited() -> Any:
    app = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])])
    transport = httpx.ASGITransport(BodyLimit(app, lambda _scope, _why: None))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("size", "status"),
    [(0, 200), (BODY_LIMIT_BYTES, 200), (BODY_LIMIT_BYTES + 1, 413), (10_000_000, 413)],
)
async def test_a_body_is_whole_or_refused(
    limited: httpx.AsyncClient, size: int, status: int
) -> None:
    answer = await limited.post("/", content=b"x" * size)
    assert answer.status_code == status
    assert answer.json() == (
        {"size": size} if status == 200 else {"detail": "The body is larger than 64 kB."}
    )


async def test_a_body_in_pieces_is_limited_too(limited: httpx.AsyncClient) -> None:
    taken = 0

    async def pieces() -> Any:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 1000

    answer = await limited.post("/", content=pieces())
    assert answer.status_code == 413
    assert taken < 1000


async def test_a_body_that_never_ends_is_given_up(
    limited: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck() -> Any:
        yield b"x"
        await asyncio.Event().wait()

    monkeypatch.setattr(body_limit, "BODY_TIMEOUT_SECS", 0.05)
    assert (await limited.post("/", content=stuck())).status_code == 408


HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    f"X-Twilio-Signature: {'x' * 27}=\r\n"
    "{length}\r\n\r\n"
)
DECLARED, CHUNKED = "Content-Length: {size}", "Transfer-Encoding: chunked"
PATHS = {"/calls": "application/json", "/twilio/inbound": "application/x-www-form-urlencoded"}
LIMITS = {"/calls": b"body is larger than 64 kB", "/twilio/inbound": b"form is larger than 16 kB"}


async def _answer(server: Running, head: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request that never comes to its end."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answer)
    assert length is not None
    detail = await reader.readexactly(int(length[1]))
    writer.close()
    return int(answer.split()[1]), detail


async def test_the_server_takes_no_body_that_is_too_large_or_too_slow(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit, "BODY_TIMEOUT_SECS", 0.2)
    chunk = b"%x\r\n%s\r\n" % (1_000, b"x" * 1_000)
    too_large = 413, b'{"detail":"The body is larger than 64 kB."}'
    too_slow = 408, b'{"detail":"The body did not arrive in time."}'
    for path, kind in PATHS.items():
        declared = HEAD.format(path=path, kind=kind, length=DECLARED.format(size=10_000))
        chunked = HEAD.format(path=path, kind=kind, length=CHUNKED)
        assert await _answer(server, chunked, chunk * 66) == too_large
        assert await _answer(server, chunked, chunk * 2) == too_slow
        assert await _answer(server, declared, b"x" * 2_000) == too_slow
    assert await server.metric(rejected("body_too_large")) == 2
    assert await server.metric(rejected("body_too_slow")) == 4
    assert (await server.http.get("/calls")).json()["calls"] == []


async def test_a_body_that_is_declared_too_large_is_not_waited_for(server: Running) -> None:
    for path, kind in PATHS.items():
        head = HEAD.format(path=path, kind=kind, length=DECLARED.format(size=100_000))
        status, detail = await _answer(server, head, b"")
        assert status == 413
        assert LIMITS[path] in detail
    assert await server.metric(rejected("body_too_large")) == 2


SIGNATURE = f"X-Twilio-Signature: {'x' * 27}=\r\n"
UNSIGNED = b"The X-Twilio-Signature is missing or wrong."
NO_FORM = b"The body must be application/x-www-form-urlencoded."


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ("", UNSIGNED),
        ("X-Twilio-Signature: \r\n", UNSIGNED),
        ("X-Twilio-Signature: short\r\n", UNSIGNED),
        (SIGNATURE, NO_FORM),
        (SIGNATURE + "Content-Type: text/json\r\n", NO_FORM),
    ],
)
async def test_a_webhook_that_cannot_be_twilios_is_refused_before_its_body_comes(
    server: Running, headers: str, detail: bytes
) -> None:
    for path in ("/twilio/inbound", "/twilio/status", f"/twilio/twiml/{'0' * 32}"):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n{headers}\r\n"
        status, body = await _answer(server, head, b"")
        assert status == 403
        assert detail in body
