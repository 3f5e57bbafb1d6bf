"""A process whose loop or record is broken says so and ends; a tool breaks neither."""

import asyncio
from pathlib import Path

import httpx
import pytest

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import Person, Say, TwilioEmulator, WaitForAgent
from tests.e2e.conftest import GREETING, turns
from tests.server.conftest import THEIRS, Running, ServerFactory
from tests.server.own_process import VOICE_AI, own_process

# Routes by which a test breaks the process, as a bug of somebody's would.
BREAKS = f"""
import asyncio, sys
from server.routes import health

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
    twilio: TwilioEmulator, tmp_path: Path, breaks: list[str]
) -> None:
    environment = {**twilio.environment(), "GEMINI_API_KEY": "no-key"}
    async with own_process(environment, tmp_path, BREAKS) as (server, process):
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


PAY, SORRY = "Please pay my bill.", "I am sorry, I cannot pay it."
SCRIPT = Script.parse(
    {
        "rules": [
            {"hears": PAY, "call": {"name": "pay_bill", "args": {"number": "7"}}},
            {
                "tool_result": "pay_bill",
                "where": {"error": "This does not work at the moment."},
                "say": SORRY,
            },
        ]
    }
)


async def said(server: Running, call: dict[str, str]) -> list[str]:
    """What the agent said in a call that is over."""
    while True:
        result = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})
        if result.json()["status"] == "completed":
            break
    assert result.json()["end_reason"] == "caller"
    return [text for who, text, _ in turns(result.json()) if who == "agent"]


async def test_a_tool_that_exits_ends_no_call_and_not_the_process(
    twilio: TwilioEmulator, tmp_path: Path
) -> None:
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.2) as gemini:
        environment = {**gemini.environment(), **twilio.environment(), "GEMINI_API_KEY": "no-key"}
        async with own_process(environment, tmp_path) as (server, process):
            twilio.people[THEIRS] = Person([WaitForAgent(), Say(PAY), WaitForAgent()])
            for _ in range(2):  # the process takes calls after it, too
                call = await server.place(greeting=GREETING, pipeline="practice")
                assert await said(server, call) == [GREETING, SORRY]
            assert (await server.http.get("/health/ready")).status_code == 200
            assert process.returncode is None
