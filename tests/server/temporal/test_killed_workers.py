"""A worker dies at a boundary of an activity, and another one goes on: one outcome, one dial."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.lifecycle.events import Terminate
from agent.lifecycle.statuses import EndReason
from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call
from server.demo.temporal_server import TemporalServer
from server.emulators.twilio import Answer, NoAnswer, Person, TwilioEmulator
from server.emulators.twilio.handset import Handset
from tests.agent.conftest import a_call
from tests.agent.runner.conftest import over_temporal
from tests.agent.runner.scripted import SECS, Ends, Phone, ScriptedMedia, kinds, placed
from tests.server.conftest import OUR_NUMBER, own_environment, running_server

__all__ = ["a_call", "own_environment"]

ROOT = Path(__file__).parents[3]
DIED = 9
# `voice-ai worker` that dies before or after its first activity of a kind.
DYING = f"""
import functools, os, sys
from temporalio import activity
from agent.runner.activities import CallActivities

when, what = sys.argv.pop(1).split(":")
original = getattr(CallActivities, what)

@functools.wraps(original)
async def dying(self, order):
    if when == "after":
        await original(self, order)
    os._exit({DIED})

del dying.__temporal_activity_definition
setattr(CallActivities, what, activity.defn(name=what)(dying))
from server.cli.main import app
app()
"""
WORKING = "from server.cli.main import app; app()"
BOUNDARIES = [
    f"{when}:{what}"
    for what in ("begin", "write_record", "dial", "hang_up", "look_up")
    for when in ("before", "after")
]


@asynccontextmanager
async def worker(
    environment: dict[str, str], folder: Path, program: str, *words: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *words, "worker"),
        cwd=folder,
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert b"Working" in await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def settings_of(
    tmp_path: Path, migrated_file: Path, temporal: TemporalServer
) -> Callable[[TwilioEmulator], dict[str, str]]:
    """The settings of a worker; Twilio's callbacks find nobody."""
    shutil.copy(migrated_file, tmp_path)

    def settings(twilio: TwilioEmulator) -> dict[str, str]:
        return {
            **twilio.environment(),
            "TEMPORAL_ADDRESS": temporal.address,
            "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'calls.db'}",
            "BASE_URL": "http://127.0.0.1:9",
        }

    return settings


async def killed_at(
    boundary: str,
    temporal: TemporalServer,
    settings_of: Callable[[TwilioEmulator], dict[str, str]],
    folder: Path,
    call: Call,
) -> None:
    engine = open_engine(f"sqlite+aiosqlite:///{folder / 'calls.db'}")
    record = CallLog(engine)
    async with TwilioEmulator(numbers=[OUR_NUMBER]) as twilio:
        twilio.anyone = NoAnswer()
        settings = settings_of(twilio)
        async with over_temporal(
            temporal, record, Phone(), ScriptedMedia(), Ends(), with_calls=False
        ) as life:
            async with worker(settings, folder, DYING, boundary) as dying:
                placing = asyncio.create_task(life.place(call, placed(life)))
                if "dial" in boundary or "begin" in boundary or "write" in boundary:
                    assert await dying.wait() == DIED
                else:
                    await placing
                    await life.tell(call.id, Terminate(life.now()))
                    assert await dying.wait() == DIED
            async with worker(settings, folder, WORKING):
                await placing
                await life.tell(call.id, Terminate(life.now()))
                ended = await life.ended(call.id, SECS)
        assert ended is not None
        assert ended.status.is_terminal
        assert ended.end_reason is EndReason.API
        assert len(twilio.calls) <= 1
        assert {each.status for each in twilio.calls} <= {"completed", "canceled"}
        happened = await kinds(record, call)
        for once in ("life.placed", "life.dialled", "life.dial_unclear"):
            assert happened.count(once) <= 1
    await engine.dispose()


@pytest.mark.long
async def test_a_worker_that_dies_after_it_dialled(
    temporal: TemporalServer,
    settings_of: Callable[[TwilioEmulator], dict[str, str]],
    tmp_path: Path,
    a_call: Callable[..., Call],
) -> None:
    call = a_call(our_number=OUR_NUMBER, phone_number="+15550100123")
    await killed_at("after:dial", temporal, settings_of, tmp_path, call)


@pytest.mark.long
@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_a_worker_that_dies_at_any_boundary(
    boundary: str,
    temporal: TemporalServer,
    settings_of: Callable[[TwilioEmulator], dict[str, str]],
    tmp_path: Path,
    a_call: Callable[..., Call],
) -> None:
    call = a_call(our_number=OUR_NUMBER, phone_number="+15550100123")
    await killed_at(boundary, temporal, settings_of, tmp_path, call)


async def test_a_stream_is_accepted_before_the_record_knows_the_call(
    temporal: TemporalServer,
    settings_of: Callable[[TwilioEmulator], dict[str, str]],
    tmp_path: Path,
) -> None:
    """The worker dies with Twilio's answer to the dial, and the phone is picked up."""
    async with (
        TwilioEmulator(numbers=[OUR_NUMBER]) as twilio,
        running_server(twilio, tmp_path, temporal_address=temporal.address) as server,
    ):
        twilio.anyone = Answer(Person(Handset.until_hung_up))
        settings = settings_of(twilio) | {"BASE_URL": server.url}
        async with worker(settings, tmp_path, DYING, "after:dial") as dying:
            placing = asyncio.create_task(server.place())
            assert await dying.wait() == DIED
        await server.until_metric("voice_ai_running_pipelines", 1)
        assert (
            await server.metric('voice_ai_rejected_requests_total{reason="stream_call_sid"}') == 0
        )
        async with worker(settings, tmp_path, WORKING):
            call = await placing
            await server.http.post(f"/calls/{call['id']}/terminate")
            answer = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})
            assert answer.json()["status"] == "completed"


async def test_a_worker_stops_in_grace(
    temporal: TemporalServer,
    settings_of: Callable[[TwilioEmulator], dict[str, str]],
    tmp_path: Path,
) -> None:
    async with (
        TwilioEmulator(numbers=[OUR_NUMBER]) as twilio,
        worker(settings_of(twilio), tmp_path, WORKING) as process,
    ):
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
