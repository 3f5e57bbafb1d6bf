"""Calls that are recorded, held against what the telephone itself knows of them.

Played in virtual time, in which nothing is late but what a test makes late.
"""

import io
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import EmulatedCall, Handset, Person, Say, TwilioEmulator, WaitForAgent
from server.emulators.twilio.mulaw import PACKET, RATE, decode
from server.replay.sqlite_work import ordered_sqlite
from tests import virtual_time
from tests.e2e.conftest import AT_NINE, OPENING, SCRIPT, THANKS, World
from tests.e2e.people import STOP, interrupts, loses_the_stream
from tests.server.conftest import OUR_NUMBER, running_server

Samples = NDArray[np.int16]
Scene = Callable[[World], Coroutine[Any, Any, None]]
WHOLE = 'voice_ai_recordings_total{outcome="whole"}'
LONG = "One is for sales, two is for service, three is for the office, four is for the shop."
INTERRUPTED = Script.parse(
    {"rules": [{"hears": OPENING, "say": LONG}, {"hears": STOP, "say": AT_NINE}]}
)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Play a scene in a world whose calls are recorded."""

    @asynccontextmanager
    async def world(script: Script, settings: dict[str, Any]) -> AsyncIterator[World]:
        async with (
            TwilioEmulator(numbers=[OUR_NUMBER]) as twilio,
            GeminiLiveEmulator(script, thinking_secs=0.2) as gemini,
        ):
            for name, value in gemini.environment().items():
                monkeypatch.setenv(name, value)
            async with running_server(
                twilio, tmp_path, **{"recordings": True} | settings
            ) as server:
                yield World(server, gemini, twilio)
        assert gemini.errors == []

    def played(scene: Scene, script: Script = SCRIPT, **settings: Any) -> None:
        async def whole() -> None:
            async with world(script, settings) as around:
                await scene(around)

        with ordered_sqlite():
            virtual_time.run(whole())

    return played


async def recording(http: httpx.AsyncClient, result: dict[str, Any]) -> tuple[Samples, Samples]:
    """Both sides of a call as the API gives them: the caller, the agent."""
    answer = await http.get(f"/calls/{result['id']}/recording")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    sound, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate == RATE
    return sound[:, 0], sound[:, 1]


def on_the_phone(call: EmulatedCall) -> tuple[Samples, Samples]:
    """Both sides as the telephone knows them: what the person said, and heard."""
    line = call.record.line
    assert line is not None
    return decode(line.spoken), decode(line.ear.heard)


def offset(recorded: Samples, real: Samples) -> int:
    """By how many samples the recording begins later than the real sound: where both are most
    alike."""
    size = 1 << (len(recorded) + len(real)).bit_length()
    a, b = (np.fft.rfft(side.astype(float), size) for side in (recorded, real))
    best = int(np.argmax(np.fft.irfft(b * np.conj(a), size)))
    return best if best < size // 2 else best - size


def unlike(recorded: Samples, real: Samples, by: int) -> int:
    """How many samples differ, once the offset is taken out."""
    real = real[by:] if by >= 0 else np.pad(real, (-by, 0))
    length = min(len(recorded), len(real))
    rest = [np.count_nonzero(abs(side[length:]) > 1000) for side in (recorded, real)]
    return int(np.count_nonzero(recorded[:length] != real[:length])) + sum(rest)


def assert_true(call: EmulatedCall, recorded: tuple[Samples, Samples]) -> None:
    """Both sides are the telephone's, at one and the same offset: that of the stream's start."""
    began = call.record.first("stream.started")
    assert began is not None
    expected = round(call.record.secs(began) * RATE)
    said, heard = on_the_phone(call)
    for mine, real in zip(recorded, (said, heard), strict=True):
        by = offset(mine, real)
        assert abs(by - expected) <= 2 * PACKET
        assert unlike(mine, real, by) <= 2 * PACKET
    assert len(recorded[0]) == len(recorded[1])
    assert abs(len(recorded[0]) - (len(heard) - expected)) <= 3 * PACKET


def test_both_sides_are_what_was_said_and_heard(play: Callable[..., None]) -> None:
    async def scene(world: World) -> None:
        person = Person([WaitForAgent(), Say(OPENING), WaitForAgent(), Say(THANKS)])
        call = await world.dial(person)
        result = await world.result(call)
        assert result["end_reason"] == "agent"
        assert result["recording"] is True
        recorded = await recording(world.server.http, result)
        assert_true(call, recorded)
        assert await world.server.metric(WHOLE) == 1
        assert await world.server.metric("voice_ai_recording_bytes_total") == 2 * len(recorded[0])

    play(scene)


def test_what_a_barge_in_takes_back_is_not_recorded(play: Callable[..., None]) -> None:
    async def scene(world: World) -> None:
        call = await world.dial(interrupts)
        result = await world.result(call)
        assert [turn["interrupted"] for turn in result["turns"]].count(True) == 1
        cleared = call.record.first("clear")
        assert cleared is not None
        assert cleared.detail["dropped_ms"] > 500
        assert_true(call, await recording(world.server.http, result))

    play(scene, INTERRUPTED)


def test_a_lost_stream_is_silence_and_what_follows_is_at_its_place(
    play: Callable[..., None],
) -> None:
    async def scene(world: World) -> None:
        async def person(phone: Handset) -> None:
            await phone.hears_speech()
            await loses_the_stream(phone, world.twilio)

        call = await world.dial(person)
        recorded = await recording(world.server.http, await world.result(call))
        said, heard = on_the_phone(call)
        for mine, real in zip(recorded, (said, heard), strict=True):
            by = offset(mine, real)
            assert abs(by) <= 2 * PACKET
            assert unlike(mine, real, by) <= 4 * PACKET

    play(scene)


def test_a_recording_stops_at_its_longest_and_the_call_goes_on(play: Callable[..., None]) -> None:
    async def scene(world: World) -> None:
        call = await world.dial(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), Say(THANKS)]))
        result = await world.result(call)
        assert result["end_reason"] == "agent"
        caller, agent = await recording(world.server.http, result)
        assert len(caller) == len(agent) == 3 * RATE
        assert unlike(agent, on_the_phone(call)[1][: 3 * RATE], 0) <= 2 * PACKET
        assert await world.server.metric('voice_ai_recordings_total{outcome="limit"}') == 1
        events = (await world.server.http.get(f"/calls/{result['id']}/events")).json()["events"]
        assert [e["detail"] for e in events if e["kind"] == "recording.stopped"] == [
            {"why": "limit", "secs": 3.0}
        ]

    play(scene, recording_max_secs=3)


def test_a_recording_is_had_after_the_call_and_erased_with_it(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def scene(world: World) -> None:
        answers: list[tuple[int, bool]] = []

        async def person(phone: Handset) -> None:
            await phone.listen_until_silence()
            (known,) = (await world.server.http.get("/calls")).json()["calls"]
            path = f"/calls/{known['id']}"
            read = (await world.server.http.get(path)).json()
            for ask in (world.server.http.delete, world.server.http.get):
                answer = await ask(f"{path}/recording" if ask.__name__ == "get" else path)
                assert answer.json()["detail"].startswith("The call")
                answers.append((answer.status_code, read["recording"]))
            phone.hang_up()

        result = await world.result(await world.dial(person))
        assert answers == [(409, True), (409, True)]
        path = f"/calls/{result['id']}"
        await recording(world.server.http, result)
        assert [file.name for file in (tmp_path / "recordings").iterdir()] == [
            f"{result['id']}.wav"
        ]
        assert (await world.server.http.delete(path)).status_code == 204
        assert os.listdir(tmp_path / "recordings") == []
        assert (await world.server.http.get(f"{path}/recording")).status_code == 404

    play(scene)


def test_nothing_is_recorded_when_nobody_asks_for_it(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def scene(world: World) -> None:
        result = await world.result(await world.dial(Person([WaitForAgent(), Say(THANKS)])))
        assert result["recording"] is False
        answer = await world.server.http.get(f"/calls/{result['id']}/recording")
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is no recording of this call here."}
        assert not (tmp_path / "recordings").exists()

    play(scene, recordings=False)
