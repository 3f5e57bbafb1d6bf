"""The collector of a process that serves: what was there before is out of its sight."""

import gc
from collections.abc import Iterator

import pytest

from server.garbage import MIDDLE_LOOKS, YOUNG_LOOKS, YOUNG_OBJECTS, settle


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
    assert gc.get_threshold() == (YOUNG_OBJECTS, YOUNG_LOOKS, MIDDLE_LOOKS)
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
