"""The collector of a process that serves: what was there before is out of its sight."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from server.observability.gc_policy import YOUNG_COLLECTIONS, YOUNG_OBJECTS, settle


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


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
    for number in range(10 * YOUNG_OBJECTS * YOUNG_COLLECTIONS):
        kept.append([number])
        if old() is None:
            break
    assert old() is None
    assert len(kept) <= 3 * YOUNG_OBJECTS * YOUNG_COLLECTIONS
