"""How the app stands on its socket: what a peer may send before it is anybody."""

import asyncio

from tests.server.conftest import Running

ENDLESS_BYTES = 20_000_000


async def test_headers_that_never_end_are_refused_before_they_fill_the_memory(
    server: Running,
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\nX-Long: ")
    sent = 0
    try:
        while sent < ENDLESS_BYTES:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()
    except OSError:
        pass  # closed by the server
    writer.close()
    assert sent < ENDLESS_BYTES
    assert (await server.http.get("/health")).status_code == 200
