"""Tool calls belong to the call: they run once, and their results are told."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.tool_ledger import Entry, Status, ToolLedger


def test_a_call_that_another_session_asks_for_again_is_the_same_run() -> None:
    ledger = ToolLedger()
    entry, runs = ledger.asked("f1", "book", {"day": "Monday", "people": 2})
    assert runs
    ledger.session_lost()
    again, runs = ledger.asked("f9", "book", {"people": 2, "day": "Monday"})
    assert (again, runs) == (entry, False)
    assert entry.askers == ["f9"]


def test_other_arguments_are_another_call() -> None:
    ledger = ToolLedger()
    ledger.asked("f1", "book", {"day": "Monday"})
    assert ledger.asked("f2", "book", {"day": "Tuesday"})[1]


def test_a_result_that_is_untold_answers_the_same_question() -> None:
    ledger = ToolLedger()
    entry, _ = ledger.asked("f1", "book", {})
    ledger.session_lost()
    ledger.done(entry, {"result": "booked"})
    assert ledger.untold == [entry]
    again, runs = ledger.asked("f2", "book", {})
    assert (again, runs) == (entry, False)
    assert again.response == {"result": "booked"}


def test_a_call_that_was_told_may_run_anew() -> None:
    ledger = ToolLedger()
    entry, _ = ledger.asked("f1", "book", {})
    ledger.done(entry, {})
    ledger.told(entry)
    assert ledger.asked("f2", "book", {})[1]


def test_a_session_that_was_told_in_words_may_ask_all_the_same() -> None:
    ledger = ToolLedger()
    entry, _ = ledger.asked("f1", "book", {})
    ledger.done(entry, {"result": "booked"})
    ledger.session_lost()
    ledger.told(entry, briefed=True)
    assert ledger.asked("f2", "book", {}) == (entry, False)
    assert (entry.status, entry.askers) == (Status.UNTOLD, ["f2"])
    ledger.told(entry)
    assert ledger.asked("f3", "book", {})[1]


def test_what_a_lost_session_was_told_is_told_again_unless_a_handle_covers_it() -> None:
    ledger = ToolLedger()
    entry, _ = ledger.asked("f1", "book", {})
    ledger.done(entry, {})
    ledger.told(entry)
    ledger.session_lost()
    assert ledger.untold == [entry]
    ledger.told(entry)
    ledger.kept()
    ledger.session_lost()
    assert not ledger.is_open


def test_a_cancelled_call_stops_only_when_nobody_waits_for_it() -> None:
    ledger = ToolLedger()
    entry, _ = ledger.asked("f1", "book", {})
    ledger.asked("f2", "book", {})
    assert ledger.canceled("f1") is None
    assert ledger.canceled("f2") is entry
    assert ledger.canceled("f2") is None
    assert not ledger.is_open


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "done", "told", "lost", "kept"]), st.sampled_from("ab")),
        max_size=60,
    )
)
def test_a_call_never_runs_beside_itself(steps: list[tuple[str, str]]) -> None:
    ledger = ToolLedger()
    runs: dict[str, list[Entry]] = {"a": [], "b": []}
    for number, (step, name) in enumerate(steps):
        running = [entry for entry in runs[name] if entry.status is Status.RUNNING]
        match step:
            case "ask":
                entry, is_new = ledger.asked(str(number), name, {})
                untold = [each for each in runs[name] if each.status is not Status.TOLD]
                assert is_new == (not [each for each in untold if each in ledger.results + running])
                if is_new:
                    runs[name].append(entry)
            case "done" if running:
                ledger.done(running[0], {"result": number})
            case "told":
                for entry in ledger.untold:
                    ledger.told(entry)
            case "lost":
                ledger.session_lost()
            case "kept":
                ledger.kept()
        for each in runs.values():
            assert sum(entry.status is Status.RUNNING for entry in each) <= 1
