"""The load balancer of the demo leaves no connection behind."""

import asyncio
import socket
import struct

import pytest

from server.demo.load_balancer import LoadBalancer

pytestmark = pytest.mark.real_time


async def test_a_client_that_resets_its_connection_leaves_none_to_an_instance() -> None:
    ended = asyncio.Event()

    async def instance(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"":
            ended.set()
        writer.close()

    async with await asyncio.start_server(instance, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        async with LoadBalancer([f"{host}:{port}"]) as balancer:
            address = balancer.url.removeprefix("http://").rsplit(":", 1)
            _, writer = await asyncio.open_connection(address[0], int(address[1]))
            # Closed without a goodbye.
            plain = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            async with asyncio.timeout(5):
                await ended.wait()
