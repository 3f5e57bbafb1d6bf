"""When a connection that has to go is left for the next one."""

from itertools import cycle, islice

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.departure import Departure, Step, Successor

DEADLINE = 100.0


def step(now: float, successor: Successor, *, quiet: bool = True) -> Step:
    return Departure(DEADLINE).step(now, quiet=quiet, successor=successor)


def test_in_a_quiet_moment_the_next_one_opens_and_takes_over() -> None:
    assert step(90, Successor.NONE) is Step.OPEN
    assert step(90, Successor.OPENING) is Step.WAIT
    assert step(91, Successor.OPEN) is Step.SWITCH


def test_a_successor_that_somebody_spoke_beside_is_discarded() -> None:
    assert step(90, Successor.NONE, quiet=False) is Step.WAIT
    for successor in (Successor.OPENING, Successor.OPEN):
        assert step(90, successor, quiet=False) is Step.DISCARD


def test_when_time_is_short_it_opens_whatever_goes_on_and_takes_over_at_the_end() -> None:
    assert step(98, Successor.NONE, quiet=False) is Step.OPEN
    assert step(98, Successor.OPEN, quiet=False) is Step.WAIT
    assert step(99.6, Successor.OPEN, quiet=False) is Step.SWITCH


def test_a_connection_is_left_in_time_even_without_a_successor() -> None:
    for successor in (Successor.NONE, Successor.OPENING, Successor.REFUSED):
        assert step(99.9, successor, quiet=False) is Step.LEAVE
    assert step(90, Successor.REFUSED) is Step.LEAVE
    assert step(90, Successor.REFUSED, quiet=False) is Step.WAIT


def test_without_a_deadline_only_a_quiet_moment_is_used() -> None:
    departure = Departure(None)
    assert departure.step(1e9, quiet=False, successor=Successor.NONE) is Step.WAIT
    assert departure.step(1e9, quiet=True, successor=Successor.NONE) is Step.OPEN


@given(
    st.floats(0, 15),
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.integers(1, 60),
    st.booleans(),
)
def test_every_connection_is_left_before_its_deadline(
    left: float, quiet: list[bool], opens_after: int, refused: bool
) -> None:
    departure, now, successor = Departure(left), 0.0, Successor.NONE
    began = 0
    for number, is_quiet in enumerate(islice(cycle(quiet), 400)):
        if successor is Successor.OPENING and number - began >= opens_after:
            successor = Successor.REFUSED if refused else Successor.OPEN
        match departure.step(now, quiet=is_quiet, successor=successor):
            case Step.OPEN:
                assert successor is Successor.NONE
                successor, began = Successor.OPENING, number
            case Step.DISCARD:
                assert not is_quiet
                successor = Successor.NONE
            case Step.SWITCH:
                assert successor is Successor.OPEN
                return
            case Step.LEAVE:
                return
        now += 0.05
        assert now <= left + 0.05
    raise AssertionError("it was never left")
