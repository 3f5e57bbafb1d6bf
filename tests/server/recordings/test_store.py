"""Recordings as the server keeps them: written behind, bounded, erased; no disk stops a call."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import soundfile

import pipelines.recording.recording
import server.recordings.store
from agent.clock import loop_clock, utc_datetime
from agent.measures import Measure, RecordingEnded, RecordingWritten
from agent.ports import MemoryRecord
from agent.record.models import Call, CallStatus, Direction, new_call_id
from pipelines.recording.recording import Recording
from server.recordings.store import RecordingPolicy, Recordings
from tests import virtual_time
from tests.server.conftest import OUR_NUMBER, THEIRS

DAY_SECS = 86_400
PACKET = Random(8000).randbytes(160)


def a_call(**fields: Any) -> Call:
    call = Call(
        id=new_call_id(),
        direction=Direction.OUTBOUND,
        status=CallStatus.IN_PROGRESS,
        phone_number=THEIRS,
        our_number=OUR_NUMBER,
        pipeline="phone_call",
    )
    for name, value in fields.items():
        setattr(call, name, value)
    return call


class Kept:
    """Recordings in a folder, and what they told."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        values = {"on": True, "folder": folder, "longest_secs": 3600.0, "keep_days": 0} | policy
        self.measures: list[Measure] = []
        self.folder = folder
        self.recordings = Recordings(
            RecordingPolicy(**values), measure=self.measures.append, clock=loop_clock()
        )
        self.recordings.open()

    def begin(self, call: Call) -> tuple[Recording, MemoryRecord]:
        record = MemoryRecord()
        recording = self.recordings.begin(call, record)
        assert recording is not None
        recording.bound()
        return recording, record

    @property
    def outcomes(self) -> list[str]:
        return [m.outcome for m in self.measures if isinstance(m, RecordingEnded)]

    @property
    def byte_count(self) -> int:
        return sum(m.byte_count for m in self.measures if isinstance(m, RecordingWritten))


async def talk(recording: Recording, packets: int) -> None:
    """Both sides make sound."""
    for _ in range(packets):
        await asyncio.sleep(0.02)
        recording.caller(PACKET)
        recording.agent(PACKET, asyncio.get_running_loop().time() + 0.02)


def scene(play: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """A test that is played in virtual time, in a folder of its own."""

    def test(tmp_path: Path) -> None:
        virtual_time.run(play(tmp_path), limit_secs=40 * DAY_SECS)

    test.__name__ = play.__name__
    return test


@scene
async def test_a_call_is_written_while_it_lasts_and_whole_when_it_is_over(folder: Path) -> None:
    kept = Kept(folder)
    call = a_call()
    recording, record = kept.begin(call)
    await talk(recording, 500)
    path = kept.recordings.path(call.id)
    assert 6 * 8000 <= soundfile.info(path).frames <= 8 * 8000
    assert kept.recordings.grows(call.id)
    recording.close()
    await kept.recordings.written(call.id)
    assert not kept.recordings.grows(call.id)
    assert soundfile.info(path).frames == 10 * 8000
    assert kept.outcomes == ["whole"]
    assert kept.byte_count == 2 * 10 * 8000
    assert record.events == []
    await kept.recordings.close()


@scene
async def test_what_runs_when_the_server_stops_is_written_to_its_end(folder: Path) -> None:
    kept = Kept(folder)
    call = a_call()
    recording, _ = kept.begin(call)
    await talk(recording, 77)
    await kept.recordings.close()
    assert soundfile.info(folder / f"{call.id}.wav").frames == 77 * 160


@scene
async def test_a_call_that_another_process_began_is_gone_on_with(folder: Path) -> None:
    first = Kept(folder)
    call = a_call()
    recording, _ = first.begin(call)
    await talk(recording, 50)
    await first.recordings.close()
    await asyncio.sleep(4)
    call.answered_at = utc_datetime(loop_clock()()) - timedelta(seconds=5)
    second = Kept(folder)
    recording, _ = second.begin(call)
    await talk(recording, 50)
    await second.recordings.close()
    sound, _ = soundfile.read(folder / f"{call.id}.wav", dtype="int16")
    assert len(sound) == pytest.approx(6 * 8000, abs=160)
    assert not sound[8000 : 5 * 8000 - 160].any()
    assert sound[-8000:].any()


@scene
async def test_a_call_that_was_recorded_for_long_enough_is_not_gone_on_with(folder: Path) -> None:
    kept = Kept(folder, longest_secs=60.0)
    call = a_call(answered_at=utc_datetime(loop_clock()()) - timedelta(seconds=61))
    assert kept.recordings.begin(call, MemoryRecord()) is None
    await kept.recordings.close()


@scene
async def test_a_phone_that_nobody_answers_leaves_no_file(folder: Path) -> None:
    kept = Kept(folder)
    call = a_call()
    recording = kept.recordings.begin(call, MemoryRecord())
    assert recording is not None
    recording.agent(PACKET, 1.0)
    await asyncio.sleep(30)
    recording.close()
    await kept.recordings.written(call.id)
    assert (kept.outcomes, os.listdir(folder)) == ([], [])
    await kept.recordings.close()


@scene
async def test_a_folder_that_cannot_be_made_ends_recordings_and_nothing_else(folder: Path) -> None:
    (folder / "taken").write_text("a file")
    kept = Kept(folder / "taken")
    calls = [kept.begin(a_call()) for _ in range(2)]
    await asyncio.gather(*(talk(recording, 300) for recording, _ in calls))
    for recording, record in calls:
        assert record.events == [("recording.stopped", {"why": "cannot_write", "secs": ANY_SECS})]
        assert recording.held_bytes == 0
    assert kept.outcomes == ["cannot_write"] * 2
    await kept.recordings.close()
    assert (folder / "taken").read_text() == "a file"


class _AnySecs(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and 0 < other < 2

    __hash__ = float.__hash__


ANY_SECS = _AnySecs()


@scene
async def test_an_erased_call_comes_back_by_nothing_that_is_underway(folder: Path) -> None:
    kept = Kept(folder)
    call = a_call()
    recording, _ = kept.begin(call)
    await talk(recording, 200)
    assert (folder / f"{call.id}.wav").exists()
    talking = asyncio.create_task(talk(recording, 200))
    await kept.recordings.erase(call.id)
    await talking
    recording.close()
    await kept.recordings.close()
    assert os.listdir(folder) == []
    assert kept.outcomes == ["erased"]


@scene
async def test_what_cannot_be_erased_is_an_error(folder: Path) -> None:
    kept = Kept(folder)
    call_id = new_call_id()
    (folder / f"{call_id}.wav").mkdir()
    with pytest.raises(OSError):
        await kept.recordings.erase(call_id)
    await kept.recordings.erase(new_call_id())
    await kept.recordings.close()


@scene
async def test_old_recordings_go_at_the_start_and_then_every_hour(folder: Path) -> None:
    now = time.time()
    names = {age: new_call_id() for age in (1, 29.99, 30.01)}
    for age, name in names.items():
        path = folder / f"{name}.wav"
        path.write_bytes(b"sound")
        os.utime(path, (now - age * DAY_SECS,) * 2)
    # What is there is forgotten in time although nothing new is recorded.
    kept = Kept(folder, on=False, keep_days=30)
    assert kept.recordings.begin(a_call(), MemoryRecord()) is None

    def there() -> set[float]:
        return {age for age, name in names.items() if (folder / f"{name}.wav").exists()}

    await asyncio.sleep(60)
    assert there() == {1, 29.99}
    await asyncio.sleep(3600)
    assert there() == {1}
    await asyncio.sleep(28 * DAY_SECS)
    assert there() == {1}
    await asyncio.sleep(DAY_SECS + 3600)
    assert there() == set()
    await kept.recordings.close()


async def test_a_disk_that_does_not_answer_ends_recordings_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    write = server.recordings.store.write

    def stuck(jobs: list[Any]) -> list[Any]:
        answers.wait()
        return write(jobs)

    monkeypatch.setattr(server.recordings.store, "write", stuck)
    monkeypatch.setattr(server.recordings.store, "WRITE_EVERY_SECS", 0.01)
    monkeypatch.setattr(pipelines.recording.recording, "HOLD_SECS", 0.1)
    monkeypatch.setattr(pipelines.recording.recording, "HELD_AT_MOST_SECS", 0.5)
    kept = Kept(tmp_path)
    try:
        calls = [kept.begin(a_call()) for _ in range(3)]
        while not all(recording.overflowed for recording, _ in calls):
            for recording, _ in calls:
                await talk(recording, 1)
                assert recording.held_bytes <= 2 * 8000 * 2
        # The one that was taken before the disk hung, and those that were not: all are told of.
        for recording, record in calls:
            assert recording.held_bytes == 0
            ((kind, detail),) = record.events
            assert (kind, detail["why"]) == ("recording.stopped", "too_slow")
        assert kept.outcomes == ["too_slow"] * 3
    finally:
        answers.set()
        await kept.recordings.close()
    assert kept.outcomes == ["too_slow"] * 3
