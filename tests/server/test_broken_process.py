"""A process whose loop or record is broken says so, and ends."""

import asyncio
from pathlib import Path

import httpx
import pytest

from server.emulators.twilio import TwilioEmulator
from tests.server.conftest import ServerFactory
from tests.server.own_process import own_process
from tests.server.process_template import VOICE_AI, ProcessTemplate

# Routes by which a test breaks the process, as a bug of somebody's would.
BREAKS = f"""
import asyncio, sys
from server.http import serving
from server.routes import health

# What hangs is not waited for as long as it usually is.
serving.ENDS_WITHIN_SECS = 2

@health.router.get("/break-loop")
async def break_loop():
    asyncio.get_running_loop().call_later(0.1, sys.exit, "no key")

@health.router.get("/break-record")
async def break_record():
    for task in asyncio.all_tasks():
        if task.get_name() == "record-writer":
            task.cancel()

async def never_ends():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@health.router.get("/hang")
async def hang():
    asyncio.create_task(never_ends())

{VOICE_AI}
"""


@pytest.mark.parametrize("breaks", [["/break-record"], ["/hang", "/break-loop"]])
async def test_a_process_that_is_broken_ends(
    twilio: TwilioEmulator, tmp_path: Path, process_template: ProcessTemplate, breaks: list[str]
) -> None:
    environment = {**twilio.environment(), "GEMINI_API_KEY": "no-key"}
    async with own_process(process_template, environment, tmp_path, BREAKS) as (server, process):
        assert (await server.http.get("/health/ready")).status_code == 200
        for path in breaks:
            assert (await server.http.get(path)).status_code == 200
        async with asyncio.timeout(60):
            await process.wait()
        assert process.returncode == 1
        with pytest.raises(httpx.TransportError):
            await server.http.get("/health/live")


async def test_a_server_whose_record_is_not_written_is_not_ready_and_not_live(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_server() as server:
        # It would end within a tenth of a second.
        monkeypatch.setattr("server.http.serving._Server.breaks", lambda *_: None)
        (writer,) = [task for task in asyncio.all_tasks() if task.get_name() == "record-writer"]
        writer.cancel()
        await asyncio.wait({writer})
        ready = await server.http.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["record"] == "is not written any more"
        live = await server.http.get("/health/live")
        assert (live.status_code, live.json()["status"]) == (503, "broken")
