"""Recordings of a server in a process of its own, which is killed, or whose disk is full."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import NoAnswer, Person, Say, TwilioEmulator, WaitForAgent
from server.emulators.twilio.mulaw import PACKET, RATE
from tests.e2e.conftest import GREETING, OPENING, SCRIPT, THANKS
from tests.e2e.test_recordings import Samples, offset, on_the_phone, recording, unlike
from tests.server.conftest import THEIRS, Running
from tests.server.own_process import own_process
from tests.server.process_template import ProcessTemplate
from tests.server.test_full_disk import Disk

pytestmark = pytest.mark.real_time


@asynccontextmanager
async def recording_process(
    process_template: ProcessTemplate, twilio: TwilioEmulator, folder: Path
) -> AsyncIterator[tuple[Running, Disk]]:
    """A server that records its calls, between both vendors, and its disk."""
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.2) as gemini:
        environment = {
            **gemini.environment(),
            **twilio.environment(),
            "GEMINI_API_KEY": "no-key",
            "RECORDINGS": "on",
        }
        async with own_process(process_template, environment, folder) as (server, process):
            yield server, Disk(process.pid)


async def test_a_killed_process_leaves_what_can_be_played(
    twilio: TwilioEmulator, tmp_path: Path, process_template: ProcessTemplate
) -> None:
    twilio.people[THEIRS] = Person([WaitForAgent(), Say(OPENING), WaitForAgent("start")])
    async with recording_process(process_template, twilio, tmp_path) as (server, disk):
        call = await server.place(greeting=GREETING)
        phone = await twilio.call_placed()
        path = tmp_path / "recordings" / f"{call['id']}.wav"
        while await frames(path) < 3 * RATE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        os.kill(disk.process_id, signal.SIGKILL)
        phone.hang_up()
        await phone.ended()
    sound, rate = await asyncio.to_thread(soundfile.read, path, dtype="int16")
    assert (rate, len(sound) >= 3 * RATE) == (RATE, True)
    said, heard = on_the_phone(phone)
    caller, agent = sound[:, 0], sound[:, 1]
    by = offset(caller, said)
    assert abs(caller).max() > 1000
    assert unlike(caller, said[by : by + len(caller)], 0) <= 2 * PACKET
    greeting = [speech(side)[: RATE // 2] for side in (agent, heard)]
    assert unlike(*greeting, 0) <= PACKET


def speech(samples: Samples) -> Samples:
    """From the first sound on."""
    return samples[int(np.flatnonzero(samples)[0]) :]


async def frames(path: Path) -> int:
    """How long a recording is by now, in samples."""
    try:
        info = await asyncio.to_thread(soundfile.info, path)
    except soundfile.LibsndfileError:
        return 0  # it is not there yet
    return int(info.frames)


@pytest.mark.long
async def test_a_full_disk_ends_the_recording_and_not_the_call(
    twilio: TwilioEmulator, tmp_path: Path, process_template: ProcessTemplate
) -> None:
    person = Person([WaitForAgent(), Say(OPENING), WaitForAgent(), Say(THANKS)])
    twilio.people[THEIRS] = person
    twilio.anyone = NoAnswer()
    async with recording_process(process_template, twilio, tmp_path) as (server, disk):
        call = await server.place(greeting=GREETING)
        phone = await twilio.call_placed()
        path = tmp_path / "recordings" / f"{call['id']}.wav"
        while not await frames(path):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        disk.fill()
        await server.until_metric('voice_ai_recordings_total{outcome="no_space"}', 1)
        disk.make_room()
        assert await phone.ended() == "completed"
        assert phone.record.gaps == []
        result = (await server.http.get(f"/calls/{call['id']}/result")).json()
        assert result["end_reason"] == "agent"
        caller, agent = await recording(server.http, result)
        assert 0 < len(caller) == len(agent) < len(on_the_phone(phone)[1]) - RATE
        events = (await server.http.get(f"/calls/{call['id']}/events")).json()["events"]
        stopped = [e["detail"] for e in events if e["kind"] == "recording.stopped"]
        assert [detail["why"] for detail in stopped] == ["no_space"]
        assert stopped[0]["secs"] >= len(caller) / RATE - 0.1
