"""Packets that a busy loop joins, as the model's side of the socket gets them."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from agent.loop_load import LoopLoad
from pipelines.gemini.audio_socket import AudioSocket
from pipelines.recording.tape import Kind, Tape

PACKETS = [bytes([number]) * 640 for number in range(1, 8)]
LATER = '{"realtime_input": {"text": "later"}}'


class Model:
    """Keeps what it gets: sound as bytes, all else as text."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.raw: list[Any] = []
        self.socket: AudioSocket

    async def serve(self, connection: ServerConnection) -> None:
        async for message in connection:
            self.raw.append(message)
            audio = json.loads(message)["realtime_input"].get("audio")
            self.got.put_nowait(message if audio is None else urlsafe_b64decode(audio["data"]))

    async def take(self, count: int) -> list[bytes | str]:
        return [await self.got.get() for _ in range(count)]


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    model = Model()
    async with serve(model.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        async with connect(url, create_connection=AudioSocket, compression=None) as socket:
            assert isinstance(socket, AudioSocket)
            model.socket = socket
            yield model


def busy(socket: AudioSocket, packets: int = 3) -> LoopLoad:
    load = LoopLoad()
    load.packets = packets
    socket.join_packets(load)
    return load


def hear(socket: AudioSocket, *packets: bytes) -> None:
    for packet in packets:
        assert socket.hear(packet)


async def test_an_idle_loop_sends_each_packet_as_it_would_without_joining(model: Model) -> None:
    hear(model.socket, *PACKETS)
    plain = await model.take(len(PACKETS))
    model.socket.join_packets(LoopLoad())
    hear(model.socket, *PACKETS)

    assert await model.take(len(PACKETS)) == plain == PACKETS
    assert model.raw[: len(PACKETS)] == model.raw[len(PACKETS) :]


async def test_a_busy_loop_sends_three_at_a_time(model: Model) -> None:
    busy(model.socket)
    hear(model.socket, *PACKETS[:6])

    assert await model.take(2) == [b"".join(PACKETS[:3]), b"".join(PACKETS[3:6])]


async def test_a_packet_for_which_no_other_comes_is_sent_all_the_same(model: Model) -> None:
    busy(model.socket)
    for packet in PACKETS[:2]:
        hear(model.socket, packet)
        assert await model.take(1) == [packet]


async def test_what_waits_is_sent_before_any_other_message(model: Model) -> None:
    busy(model.socket)
    hear(model.socket, *PACKETS[:5])
    await model.socket.send(LATER)
    hear(model.socket, *PACKETS[5:7])
    model.socket.flush()

    got = await model.take(4)
    assert got == [b"".join(PACKETS[:3]), b"".join(PACKETS[3:5]), LATER, b"".join(PACKETS[5:7])]


async def test_what_waits_is_sent_before_the_connection_is_closed(model: Model) -> None:
    busy(model.socket)
    hear(model.socket, PACKETS[0])
    await model.socket.close()

    assert await model.take(1) == [PACKETS[0]]


async def test_when_the_loop_is_idle_again_what_waits_goes_first(model: Model) -> None:
    load = busy(model.socket)
    hear(model.socket, *PACKETS[:2])
    load.packets = 1
    hear(model.socket, *PACKETS[2:4])

    assert await model.take(2) == [b"".join(PACKETS[:3]), PACKETS[3]]


async def test_while_the_socket_does_not_drain_nothing_more_is_taken_and_nothing_lost(
    model: Model,
) -> None:
    busy(model.socket)
    hear(model.socket, PACKETS[0])
    model.socket.pause_writing()
    assert not model.socket.hear(PACKETS[1])
    sending = asyncio.create_task(model.socket.send(LATER))
    await asyncio.sleep(0)
    model.socket.resume_writing()
    await sending

    assert await model.take(2) == [PACKETS[0], LATER]


async def test_it_is_told_when_what_waits_was_sent(model: Model) -> None:
    sent: list[str] = []
    model.socket.when_sent(lambda: sent.append("at once"))
    assert sent == ["at once"]
    busy(model.socket)
    hear(model.socket, *PACKETS[:2])
    model.socket.when_sent(lambda: sent.append("later"))
    assert sent == ["at once"]
    hear(model.socket, PACKETS[2])

    assert sent == ["at once", "later"]


async def test_a_tape_has_every_packet_for_itself(model: Model) -> None:
    tape = Tape(lambda: 0.0)
    model.socket.tape_on(tape)
    busy(model.socket)
    hear(model.socket, *PACKETS[:3])

    heard = [content for _, kind, _, content in tape.take() if kind == Kind.MODEL_HEARS]
    assert heard == PACKETS[:3]
