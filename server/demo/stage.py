"""Sets up the demo: both vendors emulated in this process, the real server in another."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import TwilioEmulator
from server.http.serving import held_port

READY_WITHIN_SECS = 60.0
STOPS_WITHIN_SECS = 15.0
SERVE = (sys.executable, "-c", "from server.cli.main import app; app()", "serve")


class StageError(Exception):
    """The server did not start, or it died; the text is the end of what it said."""


class Vendor(Protocol):
    """An emulated vendor."""

    def environment(self) -> dict[str, str]:
        """The environment variables by which a server finds it."""
        ...


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server in a process of its own; `http` is a client of it."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient
    log: Path
    environment: Mapping[str, str]

    def check(self) -> None:
        """Raises: StageError, with the end of its log, once it has died."""
        if self.process.returncode is not None:
            raise StageError(self.last_words())

    def last_words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-2000:] or "the server said nothing"


def environment_between(gemini: Vendor, twilio: Vendor) -> dict[str, str]:
    """The environment of a server that talks with both emulated vendors, and runs our code."""
    names = ("PATH", "HOME", "LANG", "PYTHONPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    vendors = {**gemini.environment(), **twilio.environment()}
    return {**kept, **vendors, "GEMINI_API_KEY": "emulated"}


@asynccontextmanager
async def server_process(
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    folder: Path,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[ServerProcess]:
    """`voice-ai serve` as a process of its own, configured by its environment alone.

    Its database is in `folder`, and so is what it logs. `more`: further variables.

    Raises: StageError.
    """
    with held_port() as port:
        base_url = f"http://127.0.0.1:{port}"
        environment = {
            **environment_between(gemini, twilio),
            "BASE_URL": base_url,
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'demo.db'}",
            "DRAIN_TIMEOUT": "0",
            # Its session would be one that no conversation knows of.
            "ANSWER_FILLER": "false",
            **(more or {}),
        }
        command = (*SERVE, "--port", str(port))
        async with started(command, environment, folder, base_url, "/health/ready") as server:
            yield server


@asynccontextmanager
async def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    base_url: str,
    ready_path: str | None,
    *,
    listening: socket.socket | None = None,
) -> AsyncIterator[ServerProcess]:
    """A server that answers `ready_path` with success, or anything at all when that is None.

    Its working folder is `folder`, and its log is there. `listening` is a socket that it is given
    by its number.

    Raises: StageError when it dies, or takes longer than `READY_WITHIN_SECS`.
    """
    log = folder / "server.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=folder,
            pass_fds=() if listening is None else (listening.fileno(),),
            stdout=said,
            stderr=said,
        )
    if listening is not None:
        # From now on only the server holds it: who waits there learns when it dies.
        listening.close()
    try:
        async with httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False) as http:
            server = ServerProcess(process, http, log, environment)
            await _until_ready(server, ready_path)
            yield server
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and kill one that does not within `STOPS_WITHIN_SECS`."""
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOPS_WITHIN_SECS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _until_ready(server: ServerProcess, path: str | None) -> None:
    loop = asyncio.get_running_loop()
    give_up = loop.time() + READY_WITHIN_SECS
    while loop.time() < give_up:
        server.check()
        try:
            answer = await server.http.get(path or "/")
            if answer.is_success or path is None:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        await asyncio.sleep(0.1)
    raise StageError(server.last_words())
