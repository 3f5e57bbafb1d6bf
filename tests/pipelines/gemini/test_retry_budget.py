"""How long the model is tried again, and with which pauses; the clock is an argument."""

import pytest

from pipelines.gemini.retry_budget import RetryBudget, SessionPatience

PATIENCE = SessionPatience(total_secs=8.0, first_pause_secs=0.2, hopeless_attempts=2)


def pauses(budget: RetryBudget, now: float, *, hopeless: bool = False) -> list[float]:
    """The pauses until it gives up, when each attempt is refused at once."""
    made: list[float] = []
    while (pause := budget.next_pause(now, hopeless=hopeless)) is not None:
        made.append(pause)
        now += pause
    return made


def test_pauses_double_until_the_time_is_used_up() -> None:
    made = pauses(RetryBudget(PATIENCE), 100.0)
    assert made == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])
    assert sum(made) + made[-1] * 2 > 8.0


def test_a_slow_attempt_counts_from_when_it_began() -> None:
    assert RetryBudget(PATIENCE).next_pause(7.7, hopeless=False, since=0.0) == 0.2
    assert RetryBudget(PATIENCE).next_pause(7.9, hopeless=False, since=0.0) is None
    assert RetryBudget(PATIENCE).next_pause(7.9, hopeless=False) == 0.2


def test_two_hopeless_refusals_are_enough() -> None:
    assert pauses(RetryBudget(PATIENCE), 0.0, hopeless=True) == [0.2]


def test_hopeless_refusals_count_among_others() -> None:
    budget = RetryBudget(PATIENCE)
    kinds = [True, False, False, True]
    assert [budget.next_pause(0.0, hopeless=kind) for kind in kinds] == [0.2, 0.4, 0.8, None]


def test_after_a_reset_the_whole_budget_is_there() -> None:
    budget = RetryBudget(PATIENCE)
    budget.next_pause(0.0, hopeless=True)
    budget.next_pause(1.0, hopeless=False)
    budget.reset()
    assert pauses(budget, 50.0) == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])
    budget.reset()
    assert pauses(budget, 90.0, hopeless=True) == [0.2]


def test_while_nobody_waits_it_goes_on_for_a_minute_with_short_pauses() -> None:
    budget = RetryBudget(PATIENCE)
    budget.somebody_waits = False
    made = pauses(budget, 0.0)
    assert made[:5] == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0])
    assert max(made) == 2.0
    assert 56 < sum(made) <= 60


def test_who_waits_from_now_on_has_what_is_left() -> None:
    budget = RetryBudget(PATIENCE)
    budget.somebody_waits = False
    budget.next_pause(10.0, hopeless=False)
    assert not budget.is_spent(50.0)
    budget.somebody_waits = True
    assert not budget.is_spent(17.9)
    assert budget.is_spent(18.0)
    assert budget.next_pause(18.0, hopeless=False) is None
    budget.reset()
    assert not budget.is_spent(50.0)
