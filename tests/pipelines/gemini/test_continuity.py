"""Which connection is the session: never two that speak."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.continuity import Continuity, Purpose, Verdict


def test_a_hedge_that_speaks_first_takes_over_and_the_other_one_is_never_heard() -> None:
    legs: Continuity[str] = Continuity()
    legs.serve("first")
    legs.stand_by("hedge", Purpose.HEDGE)
    assert legs.speaks("hedge") is Verdict.TAKES_OVER
    assert legs.take_over() == "first"
    assert legs.speaks("first") is Verdict.NOT_HEARD
    assert legs.speaks("hedge") is Verdict.HEARD


def test_a_successor_is_not_heard_before_it_takes_over() -> None:
    legs: Continuity[str] = Continuity()
    legs.serve("first")
    legs.stand_by("next", Purpose.SUCCESSOR)
    assert legs.speaks("next") is Verdict.NOT_HEARD
    assert legs.speaks("first") is Verdict.HEARD


def test_one_that_is_dismissed_is_never_heard() -> None:
    legs: Continuity[str] = Continuity()
    legs.serve("first")
    legs.stand_by("hedge", Purpose.HEDGE)
    assert legs.dismiss() == "hedge"
    assert legs.speaks("hedge") is Verdict.NOT_HEARD
    assert legs.dismiss() is None


FAULTS = ("drop", "drop beside", "hedge", "successor", "switch", "dismiss", "speak")


@given(st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 30)), max_size=120))
def test_at_no_time_do_two_connections_speak(schedule: list[tuple[str, int]]) -> None:
    legs: Continuity[int] = Continuity()
    count = 0
    left: set[int] = set()
    for fault, speaker in schedule:
        if legs.serving is None:
            count += 1
            legs.serve(count)
        match fault:
            case "drop" if legs.serving is not None:
                left.add(legs.serving)
                legs.lost(legs.serving)
                if legs.beside is not None:
                    assert legs.take_over() is None
            case "drop beside" if legs.beside is not None:
                left.add(legs.beside)
                legs.lost(legs.beside)
            case "hedge" | "successor" if legs.beside is None:
                count += 1
                legs.stand_by(count, Purpose(fault))
            case "switch" if legs.beside is not None:
                old = legs.take_over()
                assert old is not None
                left.add(old)
            case "dismiss":
                dismissed = legs.dismiss()
                left |= set() if dismissed is None else {dismissed}
            case "speak" if legs.speaks(speaker) is Verdict.TAKES_OVER:
                old = legs.take_over()
                assert old is not None
                left.add(old)
        heard = [leg for leg in range(count + 1) if legs.speaks(leg) is Verdict.HEARD]
        assert len(heard) <= 1
        assert not left & {legs.serving, legs.beside}
        assert all(legs.speaks(leg) is Verdict.NOT_HEARD for leg in left)
