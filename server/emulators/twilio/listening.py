"""An ASGI application served in the running loop, on a port that is known at once."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

SHUT_DOWN_WITHIN_SECS = 2


@contextlib.asynccontextmanager
async def listening(app: Any, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve `app` until the block ends; yields the port (a free one for 0).

    Raises: OSError when the port is taken.
    """
    listener = socket.create_server((host, port))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="critical",
        lifespan="off",
        date_header=False,
        timeout_graceful_shutdown=SHUT_DOWN_WITHIN_SECS,
    )
    server = _Uvicorn(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.stopping.set()
        await serving


class _Uvicorn(uvicorn.Server):
    """A server in somebody else's loop: signals are not its own, and it polls for nothing."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
