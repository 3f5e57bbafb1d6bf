"""LoadBalancer: spreads connections over instances in turn, as any load balancer in front of them.

It knows nothing of calls: no stickiness. An instance that refuses a connection is passed over, and
so is one that says it is not ready, as long as another one is. One that does not answer gets no
further request, not over a connection that is open either; streams to it stay open.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx

CHECKED_EVERY_SECS = 0.25
PIECE_BYTES = 65_536


class LoadBalancer:
    """Listens on a port of loopback; the addresses of `instances` may change at any time."""

    def __init__(self, instances: Sequence[str] = ()) -> None:
        """`instances`: "host:port" each."""
        self.instances = list(instances)
        # How many bytes have come from each instance.
        self.came_from: Counter[str] = Counter()
        # Connections of clients that carry requests, by instance.
        self._asking: defaultdict[str, set[asyncio.StreamWriter]] = defaultdict(set)
        self._turn = 0
        self._not_ready: set[str] = set()
        self._server: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where Twilio and clients reach the instances."""
        assert self._server is not None, "not open"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._checking = asyncio.create_task(self._check_all(), name="load-balancer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        tasks = [*self._pumps, *([self._checking] if self._checking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_all(self) -> None:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            while True:
                for instance in list(self.instances):
                    ready = False
                    try:
                        answer = await http.get(f"http://{instance}/health/ready")
                        ready = answer.is_success
                    except httpx.TimeoutException:
                        for back in self._asking[instance]:
                            back.close()
                    except httpx.HTTPError:
                        pass  # it is not there, and nothing of it either
                    (self._not_ready.discard if ready else self._not_ready.add)(instance)
                await asyncio.sleep(CHECKED_EVERY_SECS)

    async def _connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            instance = await self._connect()
            if instance is not None:
                name, reader, writer = instance
                try:
                    first = await client.read(PIECE_BYTES)
                    if b"upgrade: websocket" not in first.lower():
                        self._asking[name].add(back)
                    writer.write(first)
                    await asyncio.gather(
                        _pump(client, writer), _pump(reader, back, self._count_from(name))
                    )
                finally:
                    self._asking[name].discard(back)
                    writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # one of the two is gone, or all is closed
        finally:
            back.close()
            self._pumps.discard(task)

    def _count_from(self, name: str) -> Callable[[bytes], None]:
        def count(piece: bytes) -> None:
            self.came_from[name] += len(piece)

        return count

    async def _connect(self) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter] | None:
        count = len(self.instances)
        in_turn = [self.instances[(self._turn + n) % count] for n in range(count)]
        self._turn += 1
        for instance in sorted(in_turn, key=self._not_ready.__contains__):
            host, port = instance.rsplit(":", 1)
            try:
                return instance, *await asyncio.open_connection(host, int(port))
            except OSError:
                continue
        return None


async def _pump(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    count: Callable[[bytes], None] = lambda _: None,
) -> None:
    """Copy until the source ends; then the sink is told, and what is lost is lost at once."""
    try:
        while piece := await source.read(PIECE_BYTES):
            count(piece)
            sink.write(piece)
            await sink.drain()
    except ConnectionError:
        sink.transport.abort()
        return
    with contextlib.suppress(OSError, RuntimeError):
        sink.write_eof()
