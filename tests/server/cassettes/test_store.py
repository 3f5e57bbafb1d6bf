"""Cassettes of an instance: written behind, kept or dropped by how the call ended, and erased."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

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
