"""A client's socket that cuts messages out by itself: over a real websockets server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from pipelines.gemini.fast_websocket import MOST_UNREAD, FastClientConnection
from pipelines.gemini.websocket_frames import MOST_FRAGMENTS

Talk = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def talking_to(talk: Talk, *, max_size: int = 1 << 20) -> AsyncIterator[FastClientConnection]:
    """A socket to a server that does `talk`, and then waits for the end."""

    async def serve_one(server: ServerConnection) -> None:
        await talk(server)
        await server.wait_closed()

    async with serve(serve_one, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        options = {
            "compression": None,
            "max_size": max_size,
            "create_connection": FastClientConnection,
        }
        async with connect(f"ws://127.0.0.1:{port}", **options) as socket:
            assert isinstance(socket, FastClientConnection)
            yield socket


async def write(server: ServerConnection, *frames: Frame) -> None:
    """Send frames as they are, in one piece."""
    server.transport.write(b"".join(bytes(frame.serialize(mask=False)) for frame in frames))


async def until(true: Callable[[], bool]) -> None:
    """Wait for a state of a transport, which tells nobody of it."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_messages_come_whole_in_order_and_of_their_kind() -> None:
    async def talk(server: ServerConnection) -> None:
        await write(server, Frame(Opcode.TEXT, b"one"), Frame(Opcode.BINARY, b"two"))
        await server.send("thr\u00e9\u00e9")

    async with talking_to(talk) as socket:
        assert [await socket.recv() for _ in range(3)] == ["one", b"two", "thr\u00e9\u00e9"]


async def test_a_message_may_be_decoded_or_not_as_it_is_asked_for() -> None:
    async def talk(server: ServerConnection) -> None:
        for message in ("text", b"bytes", b"\xff"):
            await server.send(message)

    async with talking_to(talk) as socket:
        assert await socket.recv(decode=False) == b"text"
        assert await socket.recv(decode=True) == "bytes"
        assert await socket.recv() == b"\xff"


@pytest.mark.parametrize("behind", [0, 4 * MOST_UNREAD])
async def test_a_text_that_is_none_ends_the_connection(behind: int) -> None:
    async def talk(server: ServerConnection) -> None:
        await write(server, Frame(Opcode.TEXT, b"\xff"), *[Frame(Opcode.TEXT, b"more")] * behind)

    async with talking_to(talk) as socket:
        for _ in range(2):
            with pytest.raises(ConnectionClosedError, match="invalid start byte"):
                await socket.recv()
        assert socket.protocol.close_sent is not None
        assert socket.protocol.close_sent.code == 1007


async def test_a_text_that_is_none_behind_the_end_is_no_other_end() -> None:
    async def talk(server: ServerConnection) -> None:
        await write(server, Frame(Opcode.TEXT, b"\xff"))
        await server.close(1011)

    async with talking_to(talk) as socket:
        await socket.wait_closed()
        with pytest.raises(ConnectionClosedError, match="1011"):
            await socket.recv()


async def test_fragments_are_one_message_in_its_place() -> None:
    async def talk(server: ServerConnection) -> None:
        await write(
            server,
            Frame(Opcode.TEXT, b"before"),
            Frame(Opcode.TEXT, b"in ", fin=False),
            Frame(Opcode.PING, b"are you there?"),
            Frame(Opcode.CONT, b"two ", fin=False),
            Frame(Opcode.CONT, b"pieces"),
            Frame(Opcode.TEXT, b"after"),
        )

    async with talking_to(talk) as socket:
        assert [await socket.recv() for _ in range(3)] == ["before", "in two pieces", "after"]


async def test_a_ping_between_messages_is_answered() -> None:
    answered = asyncio.Event()

    async def talk(server: ServerConnection) -> None:
        await server.send("before")
        await (await server.ping())
        await server.send("after")
        answered.set()

    async with talking_to(talk) as socket:
        assert [await socket.recv(), await socket.recv()] == ["before", "after"]
        await answered.wait()


async def test_what_came_before_the_end_is_read_and_then_the_end() -> None:
    async def talk(server: ServerConnection) -> None:
        await server.send("last words")
        await server.close(1000)

    async with talking_to(talk) as socket:
        await socket.wait_closed()
        assert await socket.recv() == "last words"
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()


async def test_who_waits_is_told_of_the_end() -> None:
    async def talk(server: ServerConnection) -> None:
        await server.recv()
        await server.close(1011, "broken")

    async with talking_to(talk) as socket:
        waiting = asyncio.create_task(socket.recv())
        assert socket.send_now(b"go")
        with pytest.raises(ConnectionClosedError, match="broken"):
            await waiting


async def test_who_waits_may_give_up_and_ask_again() -> None:
    async def talk(server: ServerConnection) -> None:
        await server.recv()
        await server.send("late")

    async with talking_to(talk) as socket:
        waiting = asyncio.create_task(socket.recv())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert socket.send_now(b"go")
        assert await socket.recv() == "late"


async def test_a_reader_that_is_behind_stops_reading_and_loses_nothing() -> None:
    count = 40 * MOST_UNREAD
    message = bytes(10_000)

    async def talk(server: ServerConnection) -> None:
        for number in range(count):
            await server.send(message + number.to_bytes(4))

    async with talking_to(talk) as socket:
        await until(lambda: not socket.transport.is_reading())
        came = [await socket.recv() for _ in range(count)]
        assert [int.from_bytes(one[-4:]) for one in came] == list(range(count))


async def test_a_socket_is_closed_by_agreement_though_nobody_reads() -> None:
    async def talk(server: ServerConnection) -> None:
        for _ in range(4 * MOST_UNREAD):
            await server.send(bytes(50_000))

    async with talking_to(talk) as socket:
        await until(lambda: not socket.transport.is_reading())
        await socket.close()
        assert socket.close_code == 1000
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    async def talk(server: ServerConnection) -> None:
        await server.send(bytes(100))
        await server.send(bytes(1001))

    async with talking_to(talk, max_size=1000) as socket:
        assert await socket.recv() == bytes(100)
        with pytest.raises(ConnectionClosedError, match="1009"):
            await socket.recv()


async def test_a_message_in_far_too_many_pieces_ends_the_connection() -> None:
    pieces = [Frame(Opcode.CONT, b"", fin=False)] * (MOST_FRAGMENTS + 1)

    async def talk(server: ServerConnection) -> None:
        await write(server, Frame(Opcode.TEXT, b"", fin=False), *pieces)

    async with talking_to(talk) as socket:
        with pytest.raises(ConnectionClosedError, match="1009"):
            await socket.recv()


async def test_a_message_inside_another_is_a_mistake() -> None:
    async def talk(server: ServerConnection) -> None:
        await write(server, Frame(Opcode.TEXT, b"one", fin=False), Frame(Opcode.TEXT, b"two"))

    async with talking_to(talk) as socket:
        with pytest.raises(ConnectionClosedError, match="1002"):
            await socket.recv()


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 5, 64])
async def test_an_answer_may_come_in_any_pieces(at_a_time: int) -> None:
    """The handshake's end, and the first frames behind it, wherever the network cuts."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        frames = b"".join(
            bytes(Frame(Opcode.TEXT, text).serialize(mask=False)) for text in (b"hello", b"you")
        )
        said = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode() + b"\r\n\r\n" + frames
        )
        for start in range(0, len(said), at_a_time):
            socket.data_received(said[start : start + at_a_time])
        await came.wait()
        writer.close()

    came = asyncio.Event()
    made: list[FastClientConnection] = []

    class Kept(FastClientConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            made.append(self)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connecting = asyncio.create_task(
            connect(f"ws://127.0.0.1:{port}", compression=None, create_connection=Kept).__aenter__()
        )
        await until(lambda: bool(made))
        socket = made[0]
        await connecting
        assert [await socket.recv(), await socket.recv()] == ["hello", "you"]
        came.set()
        socket.transport.abort()


async def test_nothing_is_sent_once_the_other_side_has_left() -> None:
    async def talk(server: ServerConnection) -> None:
        await server.close()

    async with talking_to(talk) as socket:
        await socket.wait_closed()
        assert not socket.send_now(b"hello?")
