"""An answer is one write, and its bytes are those that uvicorn writes by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from server.patient_http import PatientHttp

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
CLOSES = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
EXPECTS = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
NONSENSE = b"\x00\r\n\r\n"

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class Wire(asyncio.Transport):
    """Keeps what is written, and a None where the connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes | None] = []
        self.is_lost = False

    def write(self, data: Any) -> None:
        if self.is_lost:
            raise RuntimeError("the handler is closed")  # as uvloop says
        # What comes behind the end is dropped, and nothing is no system call.
        if data and not self.is_closing():
            self.written.append(bytes(data))

    def close(self) -> None:
        if not self.is_closing():
            self.written.append(None)

    def is_closing(self) -> bool:
        return None in self.written

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Connection:
    """A connection to an app, without a socket."""

    def __init__(self, app: ASGIApp, kind: type[HttpToolsProtocol] = PatientHttp) -> None:
        self.wire = Wire()
        self._state = ServerState()
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        config.load()
        self._protocol = kind(config=config, server_state=self._state, app_state={})
        self._protocol.connection_made(self.wire)

    def receive(self, data: bytes) -> None:
        """Bytes come from the client."""
        self._protocol.data_received(data)

    def lose(self) -> None:
        """The client is gone."""
        self.wire.close()
        self._protocol.connection_lost(ConnectionResetError())
        self.wire.is_lost = True

    async def until_done(self) -> list[bytes | None]:
        """Wait for the app to be done with all that came; what was written then."""
        while self._state.tasks:
            await asyncio.gather(*self._state.tasks)
            await asyncio.sleep(0)
        written = list(self.wire.written)
        self._protocol.connection_lost(None)
        return written


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("an answer", headers={"X-Of": scope["method"]})(scope, receive, send)


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=204)(scope, receive, send)


async def refused(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("no", 413, headers={"Connection": "close"})(scope, receive, send)


async def memory(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(memoryview(b"an answer"))(scope, receive, send)


async def read_first(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await Response(body)(scope, receive, send)


async def in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Content-Length": "6"}
    await StreamingResponse(_pieces(), headers=headers)(scope, receive, send)


async def without_length(scope: Scope, receive: Receive, send: Send) -> None:
    await StreamingResponse(_pieces())(scope, receive, send)


async def _pieces() -> Any:
    for piece in (b"one", b"", b"two"):
        await asyncio.sleep(0)
        yield piece


async def fails_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("at once")


async def fails_behind_the_head(scope: Scope, receive: Receive, send: Send) -> None:
    await _head(send, 9)
    raise ValueError("behind the head")


async def leaves_behind_the_head(scope: Scope, receive: Receive, send: Send) -> None:
    await _head(send, 9)


async def says_too_much(scope: Scope, receive: Receive, send: Send) -> None:
    await _head(send, 1)
    await send({"type": "http.response.body", "body": b"too much"})


async def says_too_little(scope: Scope, receive: Receive, send: Send) -> None:
    await _head(send, 9)
    await send({"type": "http.response.body", "body": b"little"})


async def _head(send: Send, length: int) -> None:
    headers = [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


ANSWERS: list[Answer] = [
    whole,
    empty,
    refused,
    memory,
    read_first,
    in_pieces,
    without_length,
    fails_at_once,
    fails_behind_the_head,
    leaves_behind_the_head,
    says_too_much,
    says_too_little,
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
@pytest.mark.parametrize(
    "came",
    [
        [GET],
        [POST],
        [CLOSES],
        [HEAD],
        [OLD],
        [EXPECTS, b"body"],
        [EXPECTS + b"body"],
        [GET, POST, HEAD, GET],
        [GET + POST + HEAD + POST + CLOSES + GET],
        [GET + NONSENSE],
    ],
    ids=["get", "post", "closes", "head", "old", "expects", "has", "kept", "pipelined", "nonsense"],
)
async def test_what_is_written_is_what_uvicorn_writes(answer: Answer, came: list[bytes]) -> None:
    async def exchanged(kind: type[HttpToolsProtocol]) -> tuple[bytes, bool]:
        connection = Connection(answer, kind)
        for data in came:
            connection.receive(data)
            await asyncio.sleep(0)
        written = await connection.until_done()
        return b"".join(part or b"" for part in written), None in written

    assert await exchanged(PatientHttp) == await exchanged(HttpToolsProtocol)


@pytest.mark.parametrize(
    ("answer", "came", "writes"),
    [
        (whole, GET, 1),
        (whole, GET + POST + GET, 3),
        (whole, HEAD, 1),
        (empty, POST, 1),
        (refused, POST, 1),
        (in_pieces, GET, 2),
        (fails_at_once, GET, 1),
        (fails_behind_the_head, GET, 1),
    ],
)
async def test_a_head_is_written_with_its_body(answer: Answer, came: bytes, writes: int) -> None:
    connection = Connection(answer)
    connection.receive(came)
    written = [part for part in await connection.until_done() if part is not None]
    assert len(written) == writes
    assert written[0].startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("came", [GET, HEAD], ids=["get", "head"])
async def test_the_head_of_what_has_no_length_waits_for_no_body(came: bytes) -> None:
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def later() -> Any:
        waits.set()
        await goes_on.wait()
        yield b"late"

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(later())(scope, receive, send)

    connection = Connection(answer)
    connection.receive(came)
    await waits.wait()
    assert len(connection.wire.written) == 1
    goes_on.set()
    await connection.until_done()


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    connection = Connection(read_first)
    connection.receive(EXPECTS)
    while not connection.wire.written:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert connection.wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    connection.receive(b"body")
    written = await connection.until_done()
    assert len(written) == 2
    assert (written[1] or b"").endswith(b"\r\n\r\nbody")


async def test_nothing_is_written_to_a_client_that_left_between_head_and_body() -> None:
    has_head, goes_on = asyncio.Event(), asyncio.Event()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await _head(send, 9)
        has_head.set()
        await goes_on.wait()
        raise ValueError("behind the head")

    connection = Connection(answer)
    connection.receive(GET)
    await has_head.wait()
    connection.lose()
    goes_on.set()
    assert await connection.until_done() == [None]
