"""A server that stops under a call, which nobody takes over: the record says what ended it."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Person, TwilioEmulator
from tests.e2e.conftest import GREETING
from tests.server.conftest import Running
from tests.server.own_process import own_process
from tests.server.process_template import ProcessTemplate

pytestmark = pytest.mark.real_time

OUTCOME = ("completed", "system", "The server stopped while the call went on.")


@pytest.fixture
def environment(gemini: GeminiLiveEmulator, twilio: TwilioEmulator) -> dict[str, str]:
    twilio.anyone = Person()
    return {**gemini.environment(), **twilio.environment(), "GEMINI_API_KEY": "no-key"}


async def talk(server: Running, twilio: TwilioEmulator) -> str:
    """Have somebody listen on the phone; the path of the call's result."""
    call = await server.place(greeting=GREETING)
    await (await twilio.call_placed()).happened("stream.started")
    path = f"/calls/{call['id']}"
    while (await server.http.get(f"{path}/events")).text.count("life.stream_started") < 1:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return f"{path}/result"


def outcome(result: dict[str, Any]) -> tuple[str, str, str]:
    return result["status"], result["end_reason"], result["error"]


@pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL],
    ids=lambda how: how.name,
)
async def test_the_next_process_finds_out(
    how: signal.Signals,
    environment: dict[str, str],
    twilio: TwilioEmulator,
    tmp_path: Path,
    process_template: ProcessTemplate,
) -> None:
    async with own_process(process_template, environment, tmp_path) as (server, process):
        path = await talk(server, twilio)
        process.send_signal(how)
        await process.wait()
        # Nobody answers Twilio what comes next.
        assert await twilio.calls[0].ended() == "completed"
        assert twilio.calls[0].hung_up_by is None
    async with own_process(process_template, environment, tmp_path) as (server, _):
        result = await server.http.get(path, params={"wait": 20})
        assert outcome(result.json()) == OUTCOME


@pytest.mark.long
async def test_a_process_that_still_answers_somebody_finds_out_by_itself(
    environment: dict[str, str],
    twilio: TwilioEmulator,
    tmp_path: Path,
    process_template: ProcessTemplate,
) -> None:
    sent = asyncio.Event()

    async def trace(name: str, _: object) -> None:
        if name == "http11.send_request_body.complete":
            sent.set()

    async with own_process(process_template, environment, tmp_path) as (server, process):
        path = await talk(server, twilio)
        result = asyncio.create_task(
            server.http.get(path, params={"wait": 20}, extensions={"trace": trace})
        )
        await sent.wait()
        await server.http.get("/health/live")  # answered behind it
        process.send_signal(signal.SIGTERM)
        assert outcome((await result).json()) == OUTCOME


async def test_the_first_signal_waits_for_calls_and_the_second_ends_them(
    process_template: ProcessTemplate,
    environment: dict[str, str],
    twilio: TwilioEmulator,
    tmp_path: Path,
) -> None:
    draining = environment | {"DRAIN_TIMEOUT": "100"}
    async with own_process(process_template, draining, tmp_path) as (server, process):
        await talk(server, twilio)
        process.send_signal(signal.SIGINT)
        while (ready := await server.http.get("/health/ready")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert "takes no new calls" in ready.json()["checks"]["process"]
        refused = await server.http.post("/calls", json={"phone_number": "+15550100777"})
        assert refused.status_code == 503
        assert not twilio.calls[0].state.is_over
        process.send_signal(signal.SIGINT)
        await process.wait()
        assert await twilio.calls[0].ended() == "completed"
        assert twilio.calls[0].hung_up_by is None


async def test_a_drained_server_ends_with_its_last_call(
    process_template: ProcessTemplate,
    environment: dict[str, str],
    twilio: TwilioEmulator,
    tmp_path: Path,
) -> None:
    draining = environment | {"DRAIN_TIMEOUT": "100"}
    async with own_process(process_template, draining, tmp_path) as (server, process):
        await talk(server, twilio)
        process.send_signal(signal.SIGTERM)
        while (await server.http.get("/health/ready")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        twilio.calls[0].hang_up()
        await process.wait()
        assert await twilio.calls[0].ended() == "completed"
