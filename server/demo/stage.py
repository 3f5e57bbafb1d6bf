"""The demo's stage: both vendors emulated in this process, and the real server beside it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import TwilioEmulator
from server.serving import held_port

READY_WITHIN_SECS = 30.0
STOPS_WITHIN_SECS = 15.0
COMMAND = "from server.cli.main import app; app()"


class StageError(Exception):
    """The server did not start; the text is the end of what it said."""


@asynccontextmanager
async def server_process(
    gemini: GeminiLiveEmulator, twilio: TwilioEmulator, folder: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """`voice-ai serve` as a process of its own, configured by its environment alone.

    Its database is in `folder`, and so is what it logs. Gives a client of its API.

    Raises: StageError.
    """
    with held_port() as port:
        async with _serving(port, gemini, twilio, folder) as api:
            yield api


@asynccontextmanager
async def _serving(
    port: int, gemini: GeminiLiveEmulator, twilio: TwilioEmulator, folder: Path
) -> AsyncIterator[httpx.AsyncClient]:
    base_url = f"http://127.0.0.1:{port}"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **kept,
        **gemini.environment(),
        **twilio.environment(),
        "GEMINI_API_KEY": "emulated",
        "BASE_URL": base_url,
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'demo.db'}",
    }
    log = folder / "server.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", COMMAND, "serve", "--port", str(port)),
            env=environment,
            cwd=folder,
            stdout=said,
            stderr=said,
        )
    try:
        async with httpx.AsyncClient(base_url=base_url, timeout=10, trust_env=False) as api:
            await _until_ready(api, process, log)
            yield api
    finally:
        await stop(process)


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and kill one that does not within `STOPS_WITHIN_SECS`."""
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOPS_WITHIN_SECS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _until_ready(
    api: httpx.AsyncClient, process: asyncio.subprocess.Process, log: Path
) -> None:
    loop = asyncio.get_running_loop()
    give_up = loop.time() + READY_WITHIN_SECS
    while loop.time() < give_up and process.returncode is None:
        try:
            if (await api.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        await asyncio.sleep(0.1)
    raise StageError(_end_of(log) or "the server said nothing")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
