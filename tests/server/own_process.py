"""`voice-ai serve` as a process of its own: to be stopped, killed, or kept from its disk."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from twilio.request_validator import RequestValidator

from server.http.serving import held_port
from tests.server.conftest import Running
from tests.server.process_template import VOICE_AI, ForkedProcess, ProcessTemplate


@contextlib.asynccontextmanager
async def own_process(
    template: ProcessTemplate,
    environment: dict[str, str],
    folder: Path,
    program: str = VOICE_AI,
    *,
    base_url: str | None = None,
    in_fleet: bool = False,
) -> AsyncIterator[tuple[Running, ForkedProcess]]:
    """The server, with its database in `folder`, and its process, which is stopped at the end.

    `program` is what runs `voice-ai`. `base_url`: where Twilio reaches it, if not itself.
    `in_fleet`: other instances reach it.
    """
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        async with template.running(
            *("serve", "--port", str(port)),
            folder=folder,
            environment=os.environ
            | {"DRAIN_TIMEOUT": "0"}
            | environment
            | {"BASE_URL": base_url or url}
            | ({"INSTANCE_URL": url} if in_fleet else {}),
            program=program,
        ) as process:
            assert b"Listening" in await process.stdout.readline()
            async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
                signer = RequestValidator(environment["TWILIO_AUTH_TOKEN"])
                yield Running(url, http, signer), process
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
