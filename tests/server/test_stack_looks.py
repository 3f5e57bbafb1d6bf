"""What looks at a stack say together, look by look."""

import sys
from types import FrameType

import pytest

from server.code_places import CodePlace
from server.stack_looks import Look, blamed, computed_secs, waited_secs


def frame() -> FrameType:
    return sys._getframe()


A, B, C, D = (frame() for _ in range(4))


def look(
    callback: FrameType,
    at_ms: float,
    *,
    cpu_ms: float = 0,
    line: int = 1,
    kept_off_ms: float = 0,
    meanwhile_ms: float = 0,
) -> Look:
    stack = (CodePlace("m", "f", line),)
    secs = [ms / 1000 for ms in (at_ms, cpu_ms, kept_off_ms, meanwhile_ms)]
    return Look(callback, stack, *secs)


def test_a_callback_that_most_looks_found_is_to_blame() -> None:
    looks = [look(B, 0), look(A, 2), look(A, 4), look(A, 6)]
    assert blamed(looks) == looks[1:]


@pytest.mark.parametrize("callbacks", [[A, B, C, D], [A, A, B, B], [A, B], [A], []])
def test_of_many_nobody_is_to_blame(callbacks: list[FrameType]) -> None:
    assert blamed([look(one, 2 * n) for n, one in enumerate(callbacks)]) == []


def test_one_look_is_enough_where_it_was_kept_off_by_computing() -> None:
    held = look(A, 40, kept_off_ms=38, meanwhile_ms=37)
    assert blamed([held]) == [held]
    assert computed_secs([held]) == 0.037
    # Of two it is known for certain what was between them.
    assert computed_secs([held, look(A, 42, cpu_ms=2)]) == pytest.approx(0.002)


def test_one_look_that_the_machine_delayed_blames_nobody() -> None:
    assert blamed([look(A, 40, kept_off_ms=38, meanwhile_ms=4)]) == []
    assert blamed([look(A, 8, kept_off_ms=5, meanwhile_ms=5)]) == []  # code in Python does


def test_what_was_computed_between_looks_is_a_callbacks_own() -> None:
    looks = [look(A, 0, cpu_ms=10, line=1), look(A, 30, cpu_ms=25, line=2)]
    assert computed_secs(looks) == pytest.approx(0.015)
    assert waited_secs(looks) == 0


def test_who_is_found_at_one_line_waits_there() -> None:
    looks = [look(A, 2 * n) for n in range(11)]
    assert waited_secs(looks) == pytest.approx(0.02)
    assert computed_secs(looks) == 0


def test_a_process_that_had_no_core_did_not_wait() -> None:
    assert waited_secs([look(A, 0), look(A, 60)]) == 0
    assert waited_secs([look(A, 2 * n, line=n) for n in range(11)]) == 0


def test_who_was_not_seen_did_nothing() -> None:
    assert waited_secs([]) == computed_secs([]) == 0
