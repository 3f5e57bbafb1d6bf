"""What is said of the markers of one way: in order, lost, strange, too early."""

import pytest

from server.bench.load.markers import Heard, Marker
from server.bench.load.trail import Sent, Trail

RATE = 8_000
EVERY_MS = 460


def trail(markers: int) -> Trail:
    """A trail on which so many markers left, one every 460 ms."""
    trail = Trail(call=7, rate=RATE)
    for number in range(markers):
        position_ms = number * EVERY_MS
        trail.send(Sent(number % 9, position_ms / 1000, position_ms, begins_reply=number == 0))
    return trail


def heard(number: int, *, call: int = 7, early_ms: float = 0.0, delay_ms: float = 3.0) -> Heard:
    onset = round((number * EVERY_MS - early_ms + 2.5) * RATE / 1000)
    return Heard(Marker(call, number % 9), onset, (number * EVERY_MS + delay_ms) / 1000)


def test_each_that_comes_has_its_latency() -> None:
    way = trail(20)
    for number in range(20):
        sent = way.hear(heard(number, delay_ms=number))
        assert sent is not None
        assert sent.begins_reply is (number == 0)
    assert [one.latency_ms for one in way.arrivals] == pytest.approx(range(20))
    assert [one.missing_ms for one in way.arrivals] == [0.0] * 20
    assert (way.lost, way.strange, way.waiting()) == ([], [], [])


def test_one_that_is_overtaken_is_lost() -> None:
    way = trail(3)
    way.hear(heard(0))
    way.hear(heard(2))
    assert [sent.sequence for sent in way.lost] == [1]
    # Its sound was there all the same.
    assert way.arrivals[-1].missing_ms == 0.0


def test_one_that_never_comes_is_waited_for() -> None:
    way = trail(3)
    way.hear(heard(0))
    assert [sent.sequence for sent in way.waiting()] == [1, 2]


def test_sound_that_does_not_come_is_missed_at_the_next_marker() -> None:
    way = trail(3)
    way.hear(heard(0))
    way.hear(heard(1, early_ms=20))
    way.hear(heard(2, early_ms=20))
    assert [one.missing_ms for one in way.arrivals] == pytest.approx([0, 20, 0], abs=0.1)


def test_sound_that_comes_twice_is_noticed_too() -> None:
    way = trail(2)
    way.hear(heard(0))
    way.hear(heard(1, early_ms=-40))
    assert way.arrivals[-1].missing_ms == pytest.approx(-40, abs=0.1)


def test_a_resamplers_tail_is_nothing_that_came_twice() -> None:
    way = trail(2)
    way.hear(heard(0))
    way.hear(heard(1, early_ms=-20))
    assert way.arrivals[-1].missing_ms == 0.0


@pytest.mark.parametrize(
    "strange",
    [heard(0, call=8), heard(5), Heard(None, 100, 0.1)],
    ids=["another call's", "not sent", "garbled"],
)
def test_what_is_not_due_is_strange_and_changes_nothing(strange: Heard) -> None:
    way = trail(3)
    assert way.hear(strange) is None
    assert way.strange == [strange.at]
    assert len(way.waiting()) == 3


def test_one_that_comes_twice_is_strange() -> None:
    way = trail(2)
    way.hear(heard(0))
    way.hear(heard(0))
    assert len(way.strange) == 1
    assert len(way.arrivals) == 1
