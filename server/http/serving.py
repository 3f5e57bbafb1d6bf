"""Serves the app with uvicorn in this process, with settings for phone calls."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI
from loguru import logger

from server.http.http_protocol import LimitedHttpProtocol
from server.http.response_headers import SECURITY_HEADERS
from server.twilio.media_websocket import MediaWebSocketProtocol

# Twilio's messages are well under 1 kB.
MESSAGE_LIMIT_BYTES = 65_536
SHUTDOWN_TIMEOUT_SECS = 10
# How long what still runs may keep the process when nothing is served any more.
ENDS_WITHIN_SECS = 10


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket; port 0 takes a free port.

    Raises: OSError when the address is in use or not local.
    """
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def held_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Reserve a free port for another process to `listen` on.

    Linux lets several sockets with SO_REUSEADDR have one address while at most one of them
    listens, and leaves it out where it chooses a port itself.
    Source: https://man7.org/linux/man-pages/man7/socket.7.html
    """
    with listen(host, 0) as bound:
        yield bound.getsockname()[1]


def configure(app: FastAPI) -> uvicorn.Config:
    """The uvicorn config: our logs and headers, no proxy headers, no compression of audio."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        headers=list(SECURITY_HEADERS),
        http=LimitedHttpProtocol,
        proxy_headers=False,
        ws=MediaWebSocketProtocol,
        ws_max_size=MESSAGE_LIMIT_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECS,
        lifespan="on",
    )


def run(server: "AnnouncedServer", *bound: socket.socket) -> None:
    """Serve on these sockets until a signal comes, or until the server is broken.

    An exit that some code raises in the event loop stops that loop, whatever else runs on it. The
    loop is started again then, for as long as it takes to stop in order; `is_broken` is set.
    """
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        loop = runner.get_loop()
        task = loop.create_task(server.serve(sockets=list(bound)), name="serving")
        try:
            while not task.done():
                try:
                    loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt) as error:
                    if task.done():
                        raise
                    server.breaks(f"{type(error).__name__} in the event loop")
        finally:
            _end_within(ENDS_WITHIN_SECS)


def _end_within(secs: float) -> None:
    """End the process, even when a task or a thread of some code does not."""
    timer = threading.Timer(secs, os._exit, [1])
    timer.daemon = True
    timer.start()


class _Server(uvicorn.Server):
    # Set when the process cannot go on; it stops then as it does for a signal.
    is_broken = False

    def breaks(self, why: str) -> None:
        """Stop serving: only a new process can go on."""
        if not self.is_broken:
            self.is_broken = self.should_exit = True
            logger.critical("The process is broken, and ends", why=why)

    async def on_tick(self, counter: int) -> bool:
        """Look whether the process is broken, ten times a second."""
        resources = self.lifespan.state.get("resources")
        if resources is not None and resources.is_broken:
            self.breaks("the record is not written any more")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report the calls that this cuts off to their lifecycle, then stop serving."""
        # What comes now, other instances take.
        for server in self.servers:
            server.close()
        # Set by the lifespan; missing when startup failed.
        resources = self.lifespan.state.get("resources")
        if resources is not None:
            moved = await resources.registry.report_shutdown()
            resources.metrics.moves.labels("stopping", "moved").inc(moved)
        await super().shutdown(sockets)


class AnnouncedServer(_Server):
    """A server that calls `announce` once it accepts requests, and drains before it stops.

    first signal ─▶ drain: no new calls ─┬─ the last call ended ─┐
                                         ├─ drain_secs are over ─┼─▶ calls move ─▶ stop
                                         └─ second signal ───────┘
    """

    def __init__(
        self, config: uvicorn.Config, announce: Callable[[], None], drain_secs: float = 0
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._drain_secs = drain_secs
        self._was_signalled = False
        # The loop's time at which draining ends.
        self._drained_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at the second one."""
        super().handle_exit(sig, frame)
        resources = self.lifespan.state.get("resources") if self.started else None
        if self._was_signalled and resources is not None:
            resources.registry.hurries = True
        if not self._was_signalled and not self.is_broken and self.started and self._drain_secs:
            self.should_exit = False
        self._was_signalled = True

    async def on_tick(self, counter: int) -> bool:
        """Look whether draining begins, or is over."""
        if self._was_signalled and not self.should_exit:
            self._drain()
        return await super().on_tick(counter)

    def _drain(self) -> None:
        registry = self.lifespan.state["resources"].registry
        now = asyncio.get_running_loop().time()
        if self._drained_at is None:
            self._drained_at = now + self._drain_secs
            registry.places.draining = True
            if registry.places.busy:
                logger.warning(
                    "Stopping: no new calls are taken; a second signal ends those that go on",
                    calls=registry.places.busy,
                    waits_at_most_secs=self._drain_secs,
                )
        if not registry.places.busy:
            self.should_exit = True
        elif now >= self._drained_at:
            logger.warning("Stopping: calls still go on", calls=registry.places.busy)
            self.should_exit = True

    def breaks(self, why: str) -> None:
        """Stop serving and end the process: only a new one can go on."""
        super().breaks(why)
        _end_within(2 * SHUTDOWN_TIMEOUT_SECS + ENDS_WITHIN_SECS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then call `announce`."""
        await super().startup(sockets)
        if self.started:
            self._announce()


class _WithoutSignals(_Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, bound: socket.socket) -> AsyncIterator[None]:
    """Serve the app on this socket and event loop while the context is open.

    Raises: RuntimeError when the app does not start; the log says why.
    """
    server = _WithoutSignals(configure(app))
    task = asyncio.create_task(server.serve(sockets=[bound]), name="serving")
    try:
        while not server.started:
            if task.done():
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task
        bound.close()
