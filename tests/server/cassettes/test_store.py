"""Cassettes of an instance: written behind, kept or dropped by how the call ended, and erased."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agent.clock import loop_clock
from agent.lifecycle.statuses import CallStatus
from agent.measures import CassetteEnded, Measure
from agent.ports import MemoryRecord
from agent.record.models import Call, Direction, EndReason
from pipelines.call import catalogue
from pipelines.recording.tape import Kind, Tape
from server.cassettes.cassette import read_cassettes
from server.cassettes.policy import CassettePolicy
from server.cassettes.store import Cassettes
from server.cassettes.writer import CassetteFile
from server.recordings.retention import DAY_SECS
from tests import virtual_time

MEDIA = '{"event":"media","media":{"payload":"' + "f39/" * 53 + 'f38="}}'


def scene(play: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """A test that is played in virtual time, in a folder of its own."""

    def test(tmp_path: Path) -> None:
        virtual_time.run(play(tmp_path), limit_secs=40 * DAY_SECS)

    test.__name__ = play.__name__
    return test


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def a_call(**profile: Any) -> Call:
    return Call(
        id=uuid4().hex,
        direction=Direction.OUTBOUND,
        phone_number="+15550100123",
        pipeline="phone_call",
        profile=profile,
        status=CallStatus.COMPLETED,
        end_reason=EndReason.CALLER,
    )


def open_files(folder: Path) -> int:
    """How many files of the folder this process has open, deleted ones too."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # what listed them is closed
            count += os.readlink(f"/proc/self/fd/{name}").startswith(str(folder))
    return count


class Kept:
    """Cassettes in a folder, and what they told."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        values = {"which": "all", "folder": folder, "most_bytes": 10**6, "keep_days": 0} | policy
        self.measures: list[Measure] = []
        self.record = MemoryRecord()
        self.cassettes = Cassettes(
            CassettePolicy(**values),
            facts=lambda: {"versions": {"python": "3"}},
            measure=self.measures.append,
            clock=loop_clock(),
        )
        self.cassettes.open()

    def begin(self, call: Call) -> Tape:
        tape = self.cassettes.begin(call, catalogue.find("phone_call"), self.record)
        assert tape is not None
        tape.phone(Kind.PHONE_BOUND, "MZ1")
        return tape

    @property
    def outcomes(self) -> list[str]:
        return [m.outcome for m in self.measures if isinstance(m, CassetteEnded)]


@scene
async def test_a_call_is_written_while_it_lasts_and_ends_with_its_outcome(folder: Path) -> None:
    kept, call = Kept(folder), a_call()
    tape = kept.begin(call)
    for _ in range(100):
        tape.phone(Kind.PHONE_IN, MEDIA)
        await asyncio.sleep(0.05)
    (so_far,) = read_cassettes(kept.cassettes.path(call.id))
    assert 50 < len(so_far.messages) < 101
    assert so_far.end is None
    tape.stop()
    kept.cassettes.call_ended(call)
    await asyncio.sleep(2)
    (whole,) = read_cassettes(kept.cassettes.path(call.id))
    assert [message.content for message in whole.of(Kind.PHONE_IN)] == [MEDIA] * 100
    assert whole.end == {"status": "completed", "end_reason": "caller"}
    assert kept.outcomes == ["whole"]
    await kept.cassettes.close()


@scene
async def test_of_failed_calls_alone_one_that_went_well_leaves_nothing(folder: Path) -> None:
    kept = Kept(folder, which="failed")
    well, badly, asked_for = a_call(), a_call(), a_call(cassette=True)
    badly.end_reason = EndReason.NO_MODEL
    for call in (well, badly, asked_for):
        tape = kept.begin(call)
        tape.phone(Kind.PHONE_IN, MEDIA)
        await asyncio.sleep(2)
        tape.stop()
        kept.cassettes.call_ended(call)
    await asyncio.sleep(2)
    assert names(folder) == {f"{call.id}.cassette" for call in (badly, asked_for)}
    await kept.cassettes.close()


@scene
async def test_a_call_that_nobody_answered_leaves_nothing(folder: Path) -> None:
    kept, call = Kept(folder), a_call()
    tape = kept.cassettes.begin(call, catalogue.find("phone_call"), kept.record)
    assert tape is not None
    tape.new_model_wire()
    tape.stop()
    kept.cassettes.call_ended(call)
    await asyncio.sleep(2)
    assert names(folder) == set()
    await kept.cassettes.close()


@scene
async def test_a_cassette_is_erased_while_it_grows_and_later(folder: Path) -> None:
    kept, growing, ended = Kept(folder), a_call(), a_call()
    tapes = [kept.begin(growing), kept.begin(ended)]
    tapes[1].stop()
    kept.cassettes.call_ended(ended)
    await asyncio.sleep(2)
    for call in (growing, ended):
        assert kept.cassettes.path(call.id).exists()
        await kept.cassettes.erase(call.id)
    tapes[0].phone(Kind.PHONE_IN, MEDIA)
    await asyncio.sleep(2)
    assert names(folder) == set()
    await kept.cassettes.close()


@scene
async def test_old_cassettes_are_erased_even_when_none_are_made(folder: Path) -> None:
    old, foreign = folder / f"{uuid4().hex}.cassette", folder / "mine.cassette"
    for path in (old, foreign):
        path.touch()
        os.utime(path, (0, 0))
    kept = Kept(folder, which="off", keep_days=1)
    await asyncio.sleep(5)
    assert names(folder) == {foreign.name}
    await kept.cassettes.close()


@scene
async def test_a_tape_that_nobody_takes_stops_and_the_call_goes_on(folder: Path) -> None:
    tape = Tape(asyncio.get_running_loop().time, most_waiting=10)
    for _ in range(50):
        tape.phone(Kind.PHONE_IN, MEDIA)
    assert tape.overflowed
    assert len(tape.take()) == 10


@scene
async def test_a_disk_that_cannot_be_written_ends_the_cassette_alone(folder: Path) -> None:
    blocked = folder / "file"
    blocked.touch()
    kept, call = Kept(blocked), a_call()
    tape = kept.begin(call)
    await asyncio.sleep(2)
    assert tape.is_over
    assert kept.outcomes == ["cannot_write"]
    assert kept.record.events == [("cassette.stopped", {"why": "cannot_write"})]
    await kept.cassettes.close()


@scene
async def test_what_one_call_records_that_cannot_be_written_ends_no_other_cassette(
    folder: Path,
) -> None:
    kept, odd, other = Kept(folder), a_call(), a_call()
    tapes = [kept.begin(odd), kept.begin(other)]
    # A tool of somebody's own may tell anything.
    tapes[0].add(Kind.RECORD, 0, ("event", {"kind": "mine", "detail": {("a", "b"): 1}}))
    await asyncio.sleep(2)
    assert [tape.is_over for tape in tapes] == [True, False]
    assert kept.outcomes == ["cannot_write"]
    tapes[1].phone(Kind.PHONE_IN, MEDIA)
    await asyncio.sleep(2)
    (so_far,) = read_cassettes(kept.cassettes.path(other.id))
    assert [message.content for message in so_far.of(Kind.PHONE_IN)] == [MEDIA]
    await kept.cassettes.close()


@scene
async def test_a_call_that_comes_back_before_its_end_was_known_loses_nothing(folder: Path) -> None:
    kept, call = Kept(folder), a_call()
    first = kept.begin(call)
    first.phone(Kind.PHONE_IN, MEDIA)
    first.stop()
    # It was on another instance for a moment.
    second = kept.begin(call)
    second.phone(Kind.PHONE_IN, MEDIA)
    await asyncio.sleep(2)
    second.stop()
    kept.cassettes.call_ended(call)
    await asyncio.sleep(2)
    parts = read_cassettes(kept.cassettes.path(call.id))
    assert [[m.content for m in part.of(Kind.PHONE_IN)] for part in parts] == [[MEDIA], [MEDIA]]
    assert open_files(folder) == 0
    await kept.cassettes.close()


@scene
async def test_a_call_that_came_back_is_erased_whole(folder: Path) -> None:
    kept, call = Kept(folder), a_call()
    kept.begin(call)
    await asyncio.sleep(2)
    kept.begin(call)
    await kept.cassettes.erase(call.id)
    await asyncio.sleep(2)
    assert (names(folder), open_files(folder)) == (set(), 0)
    await kept.cassettes.close()


@scene
async def test_a_call_that_came_back_and_went_well_at_once_leaves_nothing(folder: Path) -> None:
    kept, call = Kept(folder, which="failed"), a_call()
    kept.begin(call).phone(Kind.PHONE_IN, MEDIA)
    second = kept.begin(call)
    second.stop()
    kept.cassettes.call_ended(call)
    await asyncio.sleep(2)
    assert (names(folder), open_files(folder)) == (set(), 0)
    await kept.cassettes.close()


@scene
async def test_an_erased_cassette_is_not_there_again_while_others_are_dropped(
    folder: Path,
) -> None:
    kept = Kept(folder, which="failed")
    growing, went_well = a_call(cassette=True), a_call()
    tape = kept.begin(growing)
    await asyncio.sleep(2)
    ends = kept.begin(went_well)
    erasing = []
    erase_file = CassetteFile.erase

    def slowly(file: CassetteFile) -> None:
        if not erasing:
            # While the disk works, somebody erases the other call.
            erasing.append(asyncio.run_coroutine_threadsafe(kept.cassettes.erase(growing.id), loop))
        erase_file(file)

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CassetteFile, "erase", slowly)
        tape.phone(Kind.PHONE_IN, MEDIA)
        ends.stop()
        kept.cassettes.call_ended(went_well)
        await asyncio.sleep(3)
    await asyncio.wrap_future(erasing[0])
    tape.phone(Kind.PHONE_IN, MEDIA)
    await asyncio.sleep(3)
    assert names(folder) == set()
    await kept.cassettes.close()


def test_an_erased_file_is_never_written_again(tmp_path: Path) -> None:
    path = tmp_path / "call.cassette"
    file = CassetteFile(path, {}, 0.0, None, 10**6)
    assert file.append([(0.0, Kind.PHONE_IN, 1, MEDIA)])
    file.erase()
    assert file.append([(1.0, Kind.PHONE_IN, 1, MEDIA)]) == 0
    file.end({"status": "completed"})
    assert not path.exists()
