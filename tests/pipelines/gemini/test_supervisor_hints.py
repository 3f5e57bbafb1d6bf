"""Hints of a supervisor: told once, and again to a session that does not know them."""

from pipelines.gemini.supervisor_hints import MOST_HINTS, SupervisorHints


def said(lines: list[str] | tuple[str, ...]) -> list[str]:
    """The supervisor's words of each line."""
    return [line.split('"')[1] for line in lines]


def test_a_hint_is_told_once_on_one_line() -> None:
    hints = SupervisorHints()
    assert hints.add("Offer\n a  discount.")
    assert said(hints.take_untold()) == ["Offer a discount."]
    assert hints.take_untold() == []


def test_another_session_is_told_what_it_does_not_know() -> None:
    hints = SupervisorHints()
    for text in ("One.", "Two."):
        hints.add(text)
        hints.take_untold()
        if text == "One.":
            hints.covered()
    hints.add("Three.")  # it waits for the end of a reply, and is told then
    assert said(hints.for_session(resumed=True)) == ["Two."]
    assert said(hints.for_session(resumed=False)) == ["One.", "Two."]
    hints.covered()
    assert hints.for_session(resumed=True) == []
    assert said(hints.take_untold()) == ["Three."]
    assert said(hints.for_session(resumed=True)) == ["Three."], "no handle covers it yet"
    assert said(hints.lines) == ["One.", "Two.", "Three."]


def test_what_another_instance_has_told_counts_as_told() -> None:
    hints = SupervisorHints(["as it was sent"])
    assert hints.take_untold() == []
    assert hints.for_session(resumed=False) == ["as it was sent"]


def test_too_many_are_dropped() -> None:
    hints = SupervisorHints()
    assert all(hints.add(str(number)) for number in range(MOST_HINTS))
    assert not hints.add("one more")
    assert len(hints.lines) == MOST_HINTS
