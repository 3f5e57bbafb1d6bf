"""An HTTP server by hand: it keeps what came, and does with each request what a test wants."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

Does = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """201, and the connection stays."""
    writer.write(CREATED)


async def answers_and_leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """201, and the connection is closed, which the answer does not tell."""
    writer.write(CREATED)
    writer.close()


async def answers_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """201, with a body that is no JSON."""
    writer.write(CREATED.replace(b"{}", b"{."))


async def redirects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """307 to somewhere else on this server."""
    writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")


async def forbids(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """403."""
    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The connection is reset."""
    writer.transport.abort()


async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The connection is closed without an answer."""
    writer.close()


async def says_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The answer ends before its body does."""
    writer.write(CREATED[:-1])
    writer.close()


async def is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Nothing, until the other side gives up."""
    await reader.read()


class Listener:
    """`heard` are the requests as they came, head and body, over `connections` connections."""

    def __init__(self, does: Does) -> None:
        self.heard: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.left = asyncio.Event()
        self._does = does
        self._served: dict[asyncio.StreamWriter, asyncio.Event] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take requests until the connection ends, from either side."""
        self.connections += 1
        ended = self._served[writer] = asyncio.Event()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                self.heard.append(head + body)
                await self._does(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.left.set()
        ended.set()

    async def leave(self) -> None:
        """End all connections."""
        for writer, ended in self._served.items():
            writer.transport.abort()
            await ended.wait()


@contextlib.asynccontextmanager
async def listening(
    does: Does = answers, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """A listener on a port of its own."""
    listener = Listener(does)
    server = await asyncio.start_server(listener.serve, host, 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    listener.url = f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()
        await listener.leave()
