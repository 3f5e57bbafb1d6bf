"""`voice-ai serve` as a process of its own: to be stopped, killed, or kept from its disk."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from twilio.request_validator import RequestValidator

import server as server_package
from server.http.serving import held_port
from tests.server.conftest import Running

ROOT = Path(server_package.__file__).parents[1]
VOICE_AI = "from server.cli.main import app; app()"


@contextlib.asynccontextmanager
async def own_process(
    environment: dict[str, str], folder: Path, program: str = VOICE_AI
) -> AsyncIterator[tuple[Running, asyncio.subprocess.Process]]:
    """The server, with its database in `folder`, and its process, which is stopped at the end.

    `program` is what runs `voice-ai`.
    """
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "serve", "--port", str(port)),
            cwd=folder,
            env=os.environ
            | {"DRAIN_TIMEOUT": "0"}
            | environment
            | {"BASE_URL": url, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            assert b"Listening" in await process.stdout.readline()
            async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
                signer = RequestValidator(environment["TWILIO_AUTH_TOKEN"])
                yield Running(url, http, signer), process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
