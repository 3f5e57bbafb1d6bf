"""The collector of a process that serves: what was there before is out of its sight."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from server.observability.gc_policy import (
    MIDDLE_COLLECTIONS,
    YOUNG_COLLECTIONS,
    YOUNG_OBJECTS,
    collected_when_idle,
    settle,
)
from tests.virtual_time import run


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


class Circle:
    """Knows itself."""

    def __init__(self) -> None:
        self.itself = self


def test_young_cycles_are_collected_without_being_asked_for() -> None:
    settle()
    circle = weakref.ref(Circle())
    kept = [[number] for number in range(2 * YOUNG_OBJECTS)]
    assert kept
    assert circle() is None


def test_old_cycles_are_collected_once_enough_is_new() -> None:
    settle()
    circle = Circle()
    for _ in range(3):
        gc.collect(1)
    old = weakref.ref(circle)
    del circle
    kept = []
    a_full_one = (YOUNG_OBJECTS + 1) * (YOUNG_COLLECTIONS + 1) * (MIDDLE_COLLECTIONS + 1)
    for number in range(2 * a_full_one):
        kept.append([number])
        if old() is None:
            break
    assert old() is None
    assert len(kept) <= a_full_one + YOUNG_OBJECTS


def test_everything_is_collected_once_there_is_no_call() -> None:
    async def scene() -> None:
        calls = 1
        circle = Circle()
        old = weakref.ref(circle)
        for _ in range(2):
            gc.collect(1)
        del circle
        kept = [[number] for number in range(2 * YOUNG_OBJECTS)]
        async with collected_when_idle(lambda: calls):
            await asyncio.sleep(60)
            assert kept
            assert old() is not None
            calls = 0
            await asyncio.sleep(60)
            assert old() is None

    settle()
    run(scene())


def test_where_nothing_was_made_nothing_is_collected() -> None:
    async def scene() -> None:
        async with collected_when_idle(lambda: 0):
            await asyncio.sleep(60)
            before = gc.get_stats()[2]["collections"]
            await asyncio.sleep(60)
            assert gc.get_stats()[2]["collections"] == before

    settle()
    run(scene())


def test_a_process_that_was_not_settled_collects_by_itself() -> None:
    async def scene() -> None:
        circle = Circle()
        old = weakref.ref(circle)
        gc.collect(1)
        del circle
        async with collected_when_idle(lambda: 0):
            await asyncio.sleep(60)
            assert old() is not None

    run(scene())
