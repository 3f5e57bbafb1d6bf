"""Two connections joined: all bytes of each come out of the other one, on both event loops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipelines.gemini.websocket_frames import masked_text_frame
from server.http.serving import listen, serving
from server.relay import splice as splices
from server.relay.splice import Splice
from server.twilio.media_websocket import DIRECT_SOCKET

Talk = Callable[[WebSocket], Awaitable[None]]
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@contextlib.asynccontextmanager
async def joined(owner: Talk, results: list[bool] | None = None) -> AsyncIterator[ClientConnection]:
    """A client of a server that passes on to another one, which does `owner` behind `start`."""

    async def pass_on(websocket: WebSocket) -> None:
        await websocket.accept()
        start = await websocket.receive_text()
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/owner"
        socket = await connect(url, compression=None, ping_interval=None)
        splice = Splice(websocket.scope["extensions"][DIRECT_SOCKET], socket.transport)
        result = await splice.run(start)
        if results is not None:
            results.append(result)

    async def own(websocket: WebSocket) -> None:
        await websocket.accept()
        assert await websocket.receive_text() == "start"
        await owner(websocket)

    app = FastAPI()
    app.add_api_websocket_route("/arrived", pass_on)
    app.add_api_websocket_route("/owner", own)
    bound = listen("127.0.0.1", 0)
    async with serving(app, bound):
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}/arrived"
        async with connect(url, compression=None, ping_interval=None, max_queue=4) as client:
            yield client


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Awaitable[None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(20):
            await test

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(within_time())


async def echo(websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())


@LOOPS
@pytest.mark.parametrize("piece", [1, 7, 61, 10_000])
def test_all_messages_pass_in_order_however_the_network_cuts_them(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A slow machine takes longer to send it all than Twilio may for the rest of a frame.
    monkeypatch.setattr(splices, "WHOLE_WITHIN_SECS", 10.0)
    texts = [f"{number} " + "x" * (number * 37 % 400) for number in range(20)]

    async def test() -> None:
        async with joined(echo) as client:
            frames = b"".join(masked_text_frame(text.encode()) for text in ["start", *texts])
            for at in range(0, len(frames), piece):
                client.transport.write(frames[at : at + piece])
                await asyncio.sleep(0)
            assert [await client.recv() for _ in texts] == texts

    run(new_loop, test())


@LOOPS
def test_a_stream_is_passed_on_by_a_loop_that_was_busy_for_too_long(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splices, "WHOLE_WITHIN_SECS", 0.0)

    async def test() -> None:
        async with joined(echo) as client:
            await client.send("start")
            await client.send("there?")
            assert await client.recv() == "there?"

    run(new_loop, test())


@LOOPS
def test_the_owner_closes_with_its_own_code(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def closes(websocket: WebSocket) -> None:
        await websocket.close(1008, "the conversation has ended")

    async def test() -> None:
        results: list[bool] = []
        async with joined(closes, results) as client:
            await client.send("start")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1008, "the conversation has ended")
        assert results == [True]

    run(new_loop, test())


@LOOPS
def test_whoever_goes_takes_the_other_one_along(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test() -> None:
        over = asyncio.Event()

        async def listens(websocket: WebSocket) -> None:
            try:
                await echo(websocket)
            finally:
                over.set()

        async def dies(websocket: WebSocket) -> None:
            websocket.scope["extensions"][DIRECT_SOCKET].transport.abort()

        async with joined(listens) as client:
            await client.send("start")
            await client.send("there?")
            assert await client.recv() == "there?"
            client.transport.abort()
            await over.wait()
        async with joined(dies) as client:
            await client.send("start")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1006

    run(new_loop, test())


@LOOPS
@pytest.mark.long
def test_nothing_piles_up_for_who_does_not_read_and_it_is_let_go_of(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splices, "SLOW_READER_SECS", 0.3)

    async def test() -> None:
        sent = 0
        over = asyncio.Event()

        async def talks(websocket: WebSocket) -> None:
            nonlocal sent
            try:
                while True:
                    await websocket.send_text("x" * 10_000)
                    sent += 10_000
            except WebSocketDisconnect:
                over.set()

        async with joined(talks) as client:
            await client.send("start")
            client.transport.pause_reading()
            await over.wait()
        # What the kernel and the buffers of three processes hold.
        assert sent < 40_000_000

    run(new_loop, test())
