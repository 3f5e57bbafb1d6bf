"""The collector of a process that serves: what was there before is out of its sight."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from server.garbage import (
    NEVER,
    YOUNG_LOOKS,
    YOUNG_OBJECTS,
    collected_when_idle,
    settle,
    uncollected,
)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_is_there_is_not_looked_at_again() -> None:
    before = [[number] for number in range(1000)]
    settle()
    assert gc.get_freeze_count() > len(before)
    looked_at = {id(one) for one in gc.get_objects()}
    assert not looked_at & {id(one) for one in before}
    # What comes afterwards is.
    after = [[number] for number in range(10)]
    assert {id(one) for one in after} <= {id(one) for one in gc.get_objects()}


def test_cycles_that_come_later_are_collected_without_being_asked_for() -> None:
    settle()
    assert gc.get_threshold() == (YOUNG_OBJECTS, YOUNG_LOOKS, NEVER)
    collected = 0

    def count(phase: str, info: dict[str, int]) -> None:
        nonlocal collected
        collected += info["collected"] if phase == "stop" else 0

    gc.callbacks.append(count)
    try:
        for _ in range(3 * YOUNG_OBJECTS):
            cycle: list[object] = []
            cycle.append(cycle)
    finally:
        gc.callbacks.remove(count)
    assert collected >= YOUNG_OBJECTS


@pytest.mark.parametrize("was_on", [True, False])
def test_what_collects_by_itself_does_so_again_behind_a_walk_through_frames(was_on: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()


class Circle:
    """Knows itself, and is old already."""

    def __init__(self) -> None:
        self.itself = self


def old_circle() -> "weakref.ref[Circle]":
    circle = Circle()
    for _ in range(3):
        gc.collect(1)
    return weakref.ref(circle)


async def until_looked() -> None:
    """Long enough for what looks all the time to have looked."""
    for _ in range(20):
        await asyncio.sleep(0)


async def make_much() -> None:
    kept = [[number] for number in range(3 * YOUNG_OBJECTS)]
    await until_looked()
    assert kept


async def test_all_there_is_is_looked_at_when_no_call_would_wait() -> None:
    settle()
    calls = 1
    async with collected_when_idle(lambda: calls, every_secs=0):
        circle = old_circle()
        await make_much()
        assert circle() is not None
        calls = 0
        await until_looked()
        assert circle() is None


async def test_an_idle_process_is_left_alone() -> None:
    settle()
    async with collected_when_idle(lambda: 0, every_secs=0):
        await make_much()
        before = gc.get_stats()[2]["collections"]
        await until_looked()
        assert gc.get_stats()[2]["collections"] == before


async def test_a_process_that_was_not_settled_collects_by_itself() -> None:
    async with collected_when_idle(lambda: 0, every_secs=0):
        before = gc.get_stats()[2]["collections"]
        circle = old_circle()
        await until_looked()
        assert gc.get_stats()[2]["collections"] == before
        assert circle() is not None
    gc.collect()
