"""A disk that is full: who asks is told, who talks goes on, and the record is whole in the end.

The server is a process of its own here; the kernel refuses it to write anything into any file.
"""

import asyncio
import resource
from pathlib import Path

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Handset, NoAnswer, Person, Say, TwilioEmulator, WaitForAgent
from tests.e2e.conftest import GOODBYE, GREETING, SCRIPT, THANKS, turns
from tests.e2e.people import loses_the_stream
from tests.server.conftest import THEIRS
from tests.server.own_process import own_process
from tests.server.process_template import ProcessTemplate
from tests.server.routes.test_bad_input import rejected
from tests.server.routes.test_twilio_media import kinds


class Disk:
    """What the server's process may write."""

    def __init__(self, process_id: int) -> None:
        self.process_id = process_id
        self._before = resource.prlimit(process_id, resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """No byte more fits into any file."""
        resource.prlimit(self.process_id, resource.RLIMIT_FSIZE, (0, self._before[1]))

    def make_room(self) -> None:
        """There is room again."""
        resource.prlimit(self.process_id, resource.RLIMIT_FSIZE, self._before)


async def test_a_call_outlives_a_full_disk_and_its_record_is_whole(
    twilio: TwilioEmulator, tmp_path: Path, process_template: ProcessTemplate
) -> None:
    patient = Person([WaitForAgent(), Say(THANKS)])
    twilio.people[THEIRS] = patient
    twilio.anyone = NoAnswer()
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.2) as gemini:
        environment = {**gemini.environment(), **twilio.environment(), "GEMINI_API_KEY": "no-key"}
        async with own_process(process_template, environment, tmp_path) as (server, process):
            disk = Disk(process.pid)
            call = await server.place(greeting=GREETING)
            path = f"/calls/{call['id']}"
            phone = await twilio.call_placed()
            await phone.happened("stream.started")
            while "life.stream_started" not in await kinds(server, call):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            disk.fill()
            refused = await server.http.post("/calls", json={"phone_number": "+15550100777"})
            assert refused.status_code == 503
            assert "database" in refused.json()["detail"]
            assert int(refused.headers["Retry-After"]) > 0
            assert len(twilio.calls) == 1
            assert await server.metric(rejected("database")) == 1
            assert await server.metric("voice_ai_active_calls") == 1
            ready = await server.http.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["checks"]["database"].startswith("cannot be written")
            # The conversation goes on to its end, which nothing can be written of.
            assert await phone.ended() == "completed"
            assert phone.record.gaps == []
            assert phone.record.errors == []
            assert (await server.http.get(path)).json()["status"] == "in_progress"

            disk.make_room()
            while (await server.http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            result = (await server.http.get(f"{path}/result", params={"wait": 60})).json()
            assert (result["status"], result["end_reason"]) == ("completed", "agent")
            assert turns(result) == [
                ("agent", GREETING, False),
                ("caller", THANKS, False),
                ("agent", GOODBYE, False),
            ]
            await server.place(phone_number="+15550100777")
            await server.until_metric("voice_ai_running_pipelines", 0)


@pytest.mark.long
async def test_a_stream_that_breaks_while_the_disk_is_full_is_followed_by_another(
    twilio: TwilioEmulator, tmp_path: Path, process_template: ProcessTemplate
) -> None:
    full = asyncio.Event()

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await full.wait()
        await loses_the_stream(phone, twilio)

    twilio.people[THEIRS] = person
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.2) as gemini:
        environment = {**gemini.environment(), **twilio.environment(), "GEMINI_API_KEY": "no-key"}
        async with own_process(process_template, environment, tmp_path) as (server, process):
            disk = Disk(process.pid)
            call = await server.place(greeting=GREETING)
            phone = await twilio.call_placed()
            await phone.happened("stream.started")
            while "life.stream_started" not in await kinds(server, call):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            disk.fill()
            full.set()
            assert await phone.ended() == "completed"
            assert len(phone.record.all("stream.started")) == 2
            assert phone.record.errors == []
            disk.make_room()
            path = f"/calls/{call['id']}"
            result = (await server.http.get(f"{path}/result", params={"wait": 60})).json()
            assert (result["status"], result["end_reason"]) == ("completed", "caller")
