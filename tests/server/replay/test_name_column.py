"""Names of scenarios in a column: as wide as the column, and each told from the others."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from server.replay.name_column import NameColumn

LONG = "appointments/a_caller_who_changes_{}_before_the_agent_has_answered"


def test_a_name_that_fits_is_whole_and_one_that_does_not_loses_its_middle() -> None:
    column = NameColumn(["short", LONG], 24)
    assert column.fit("short") == "short".ljust(24)
    assert column.fit(LONG) == "appoint…ent_has_answered"


def test_two_long_names_that_differ_in_the_middle_are_told_apart() -> None:
    names = [LONG.format(what) for what in ("their_mind", "the_day", "the_hour")]
    column = NameColumn(names, 44)
    shown = [column.fit(name) for name in names]
    assert len(set(shown)) == 3
    for what, name in zip(("their_mind", "the_day", "the_hour"), shown, strict=True):
        assert what in name


def test_the_number_of_a_repetition_is_always_shown() -> None:
    names = [LONG.format(what) for what in ("the_day", "the_hour")]
    column = NameColumn(names, 44, repetitions=12)
    shown = {column.fit(*which) for which in product(names, (1, 2, 12))}
    assert len(shown) == 6
    assert column.fit(names[0], 12).rstrip().endswith("[12]")


@given(
    st.lists(st.text("ab", max_size=90), unique=True, max_size=12),
    st.integers(26, 44),
    st.integers(1, 3),
)
def test_no_two_look_alike(names: list[str], width: int, repetitions: int) -> None:
    column = NameColumn(names, width, repetitions=repetitions)
    numbers = range(1, repetitions + 1)
    shown = [column.fit(name, number) for name, number in product(names, numbers)]
    assert {len(each) for each in shown} <= {width}
    assert len({*shown}) == len(shown)
