"""What a client may send over a WebSocket of ours, and how the network may cut it."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Frame, Opcode

from pipelines.gemini.websocket_frames import MOST_FRAGMENTS
from server.http.http_protocol import LimitedHttpProtocol
from server.http.serving import MESSAGE_LIMIT_BYTES, listen, serving
from server.routes.media_stream import TwilioSocket
from server.twilio.inbox import MOST_UNREAD
from server.twilio.media_websocket import DIRECT_SOCKET, MediaWebSocketProtocol


@contextlib.asynccontextmanager
async def talking(talk: Callable[[WebSocket], Awaitable[None]]) -> AsyncIterator[ClientConnection]:
    """A client of an app that does `talk`."""
    app = FastAPI()
    app.add_api_websocket_route("/talk", talk)
    bound = listen("127.0.0.1", 0)
    async with serving(app, bound):
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/talk"
        async with connect(url, compression=None, ping_interval=None) as client:
            yield client


@contextlib.asynccontextmanager
async def echo(came: list[str] | None = None) -> AsyncIterator[ClientConnection]:
    """A client of an app that sends each text back, past the ASGI layers, and adds it to `came`."""
    texts = [] if came is None else came

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][DIRECT_SOCKET]
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                texts.append(await websocket.receive_text())
                direct.send_now(texts[-1])

    async with talking(talk) as client:
        yield client


async def test_nothing_is_sent_before_what_waits_for_a_socket_that_was_not_read() -> None:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][DIRECT_SOCKET]
        stream = TwilioSocket(websocket, "MZ1")
        direct.pause_writing()
        waiting = [asyncio.create_task(stream.send(f"media {number}")) for number in range(3)]
        await asyncio.sleep(0)
        direct.resume_writing()
        # Nobody who waits has had a turn of the loop yet.
        await stream.send("clear")
        await asyncio.gather(*waiting)
        await stream.send("media again")

    async with talking(talk) as client:
        came = [await client.recv() for _ in range(5)]
    assert came == ["media 0", "media 1", "media 2", "clear", "media again"]


async def test_a_stream_is_closed_behind_what_waits_for_it() -> None:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][DIRECT_SOCKET]
        stream = TwilioSocket(websocket, "MZ1")
        direct.pause_writing()
        waiting = [asyncio.create_task(stream.send(f"media {number}")) for number in range(3)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(stream.close())
        await asyncio.sleep(0)
        direct.resume_writing()
        await asyncio.gather(*waiting, closing)

    async with talking(talk) as client:
        came = [message async for message in client]
    assert came == ["media 0", "media 1", "media 2"]


async def test_a_socket_is_closed_by_agreement_though_its_app_was_behind() -> None:
    app = FastAPI()
    closed = asyncio.Event()

    @app.websocket("/full")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][DIRECT_SOCKET]
        while not direct.queue.full:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await websocket.close(1000)
        closed.set()

    bound = listen("127.0.0.1", 0)
    async with serving(app, bound):
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/full"
        async with connect(url, compression=None, ping_interval=None) as client:
            client.transport.pause_reading()
            for number in range(MOST_UNREAD):
                await client.send(f"media {number}")
            await closed.wait()
            await client.send("media on its way")
            client.transport.resume_reading()
            async with asyncio.timeout(5):  # half of what uvicorn waits for an answer
                await client.wait_closed()
            assert client.close_code == 1000


def test_a_connection_that_became_a_websocket_needs_no_collector_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[weakref.ref[object]] = []
    for kind in (LimitedHttpProtocol, MediaWebSocketProtocol):
        begin = kind.__init__

        def remembered(
            self: object, *args: Any, begin: Callable[..., None] = begin, **options: Any
        ) -> None:
            begin(self, *args, **options)
            made.append(weakref.ref(self))

        monkeypatch.setattr(kind, "__init__", remembered)

    async def talk() -> None:
        async with echo() as client:
            await client.send("hello")
            assert await client.recv() == "hello"

    gc.collect()
    gc.disable()
    try:
        uvloop.run(talk())
        assert len(made) == 2
        assert [one() for one in made] == [None, None]
    finally:
        gc.enable()


def bytes_of(*frames: Frame, mask: bool = True) -> bytes:
    return b"".join(bytes(frame.serialize(mask=mask)) for frame in frames)


@pytest.mark.parametrize("at_a_time", [1, 2, 7, 1000])
async def test_messages_are_the_same_wherever_the_network_cuts_them(at_a_time: int) -> None:
    long = "long " * 40
    sent = bytes_of(
        Frame(Opcode.TEXT, b"one"),
        Frame(Opcode.PING, b"there?"),
        Frame(Opcode.TEXT, b"in ", fin=False),
        Frame(Opcode.PONG, b""),
        Frame(Opcode.CONT, b"pieces"),
        Frame(Opcode.TEXT, long.encode()),
        Frame(Opcode.TEXT, b""),
        Frame(Opcode.TEXT, b"last"),
    )
    async with echo() as client:
        for start in range(0, len(sent), at_a_time):
            client.transport.write(sent[start : start + at_a_time])
            await asyncio.sleep(0)
        came = [await client.recv() for _ in range(5)]
    assert came == ["one", "in pieces", long, "", "last"]


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, MESSAGE_LIMIT_BYTES])
async def test_messages_of_every_length_come_and_go(length: int) -> None:
    async with echo() as client:
        await client.send("x" * length)
        assert await client.recv() == "x" * length


WRONG = {
    "not UTF-8": (bytes_of(Frame(Opcode.TEXT, b"\xff")), 1007),
    "not masked": (bytes_of(Frame(Opcode.TEXT, b"naked"), mask=False), 1002),
    "the end of nothing": (bytes_of(Frame(Opcode.CONT, b"of what?")), 1002),
    "one inside another": (
        bytes_of(Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.TEXT, b"b")),
        1002,
    ),
    "too large": (bytes_of(Frame(Opcode.TEXT, b"x" * (MESSAGE_LIMIT_BYTES + 1))), 1009),
    "too many pieces": (
        bytes_of(Frame(Opcode.TEXT, b"a", fin=False))
        + bytes_of(Frame(Opcode.CONT, b"", fin=False)) * MOST_FRAGMENTS,
        1009,
    ),
    "reserved bits": (b"\xf1\x80\x00\x00\x00\x00", 1002),
}


@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG)
async def test_what_no_client_may_send_ends_the_connection_and_nothing_behind_it_counts(
    wrong: bytes, code: int
) -> None:
    behind = bytes_of(Frame(Opcode.TEXT, b"still here"))
    came: list[str] = []
    async with echo(came) as client:
        client.transport.write(bytes_of(Frame(Opcode.TEXT, b"before")) + wrong + behind)
        with pytest.raises(ConnectionClosedError) as closed:
            async for _ in client:
                pass  # what the app sent back before it was told
    assert came == ["before"]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


@pytest.mark.parametrize(
    "last",
    [bytes_of(Frame(Opcode.CLOSE, b"\x03\xe8")), b"\x83\x80aaaa"],
    ids=["a close", "a mistake"],
)
async def test_the_app_is_told_of_the_end_once_whatever_comes_behind_it(last: bytes) -> None:
    left: list[bool] = []

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        direct = websocket.scope["extensions"][DIRECT_SOCKET]
        message = await direct.receive()
        assert message["type"] == "websocket.disconnect"
        left.append(direct.queue.full)

    async with talking(talk) as client:
        client.transport.write(last + bytes_of(Frame(Opcode.TEXT, b"behind")) * 1000)
        await client.wait_closed()
    assert left == [False]
