"""What a turn expects against what happened: order, pieces, absence, calls, deadlines."""

from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from server.replay.matching import Standing, State, in_words, normal, stand
from server.replay.results import Happened
from server.replay.scenario import Expectation, ToolCall, Where

HERE = Where(Path("scenarios/a.yaml"), 7)
PLAIN = ("bot_started_speaking", "bot_stopped_speaking", "bot_interrupted", "llm_started")
WORDS = ("red", "green", "blue", "grey", "pink")

kinds = st.sampled_from(PLAIN)


def happened(at: float, kind: str, text: str = "") -> Happened:
    return Happened(at, "agent", kind, text)


def called(at: float, name: str, **args: object) -> Happened:
    return Happened(at, "tool", "function_call", detail={"name": name, "args": args})


def expect(event: str, within_ms: int = 5_000) -> Expectation:
    return Expectation(HERE, event, within_ms)


def saying(words: str, *, not_saying: str | None = None, event: str = "response") -> Expectation:
    return Expectation(HERE, event, 5_000, text_contains=words, text_excludes=not_saying)


def standing(
    expectations: list[Expectation],
    events: list[Happened],
    *,
    now: float = 1.0,
    over: bool = False,
    turn_start: int = 0,
) -> Standing:
    return stand(expectations, events, turn_start=turn_start, sent_at=0.0, now=now, over=over)


def seen(expectations: list[Expectation], events: list[Happened], **how: object) -> str:
    found = standing(expectations, events, **how)  # type: ignore[arg-type]
    assert found.state is State.FAILED
    assert found.failure is not None
    assert found.failure.where == HERE
    return found.failure.seen


@given(st.lists(kinds, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_comes_in_order_is_met_whatever_comes_between(order: list[str], dice: Random) -> None:
    events: list[Happened] = []
    for kind in order:
        events += [happened(0.1, "user_started_speaking")] * dice.randrange(3)
        events.append(happened(0.2, kind))
    wanted = [expect(kind) for kind in order]
    assert standing(wanted, events).state is State.MET
    # One event is taken for one expectation only.
    assert standing([*wanted, expect(order[-1])], events).state is State.OPEN
    assert standing([*wanted, expect(order[-1])], events, over=True).state is State.FAILED


@given(st.permutations(PLAIN), st.permutations(PLAIN))
def test_another_order_is_met_only_from_the_start_of_the_turn(
    came: list[str], wanted: list[str]
) -> None:
    events = [happened(index / 10, kind) for index, kind in enumerate(came)]
    found = standing([expect(kind) for kind in wanted], events, over=True)
    assert (found.state is State.MET) == (came == wanted)
    anywhere = [replace(expect(kind), from_turn_start=True) for kind in wanted]
    assert standing(anywhere, events).state is State.MET


@given(kinds, st.integers(0, 5), st.integers(0, 5))
def test_what_happened_before_the_turn_does_not_count(kind: str, before: int, behind: int) -> None:
    events = [happened(0.1, kind)] * (before + behind)
    found = standing([expect(kind)], events, turn_start=before)
    assert found.state is (State.MET if behind else State.OPEN)


@given(st.integers(0, 3_000), st.integers(1, 3_000))
def test_an_event_is_in_time_until_its_deadline_and_late_behind_it(
    at_ms: int, within_ms: int
) -> None:
    events = [happened(at_ms / 1000, "llm_started")]
    found = standing([expect("llm_started", within_ms)], events, now=3.0)
    if at_ms <= within_ms:
        assert found.state is State.MET
    else:
        assert found.failure is not None
        assert found.failure.seen == f"llm_started came late, at {at_ms / 1000:.2f} s"


def test_what_was_late_is_told_however_the_events_became_known() -> None:
    events = [happened(4.0, "response", "too late"), happened(2.0, "response", "something else")]
    found = seen([replace(saying("nine"), within_ms=3_000)], events, now=5.0)
    assert "something else" in found
    late = [happened(4.0, "llm_started")]
    assert seen([expect("llm_started", 3_000)], late, now=5.0).endswith("at 4.00 s")


@given(st.integers(1, 3_000), st.integers(0, 4_000))
def test_it_stays_open_until_all_until_its_deadline_is_known(within_ms: int, now_ms: int) -> None:
    found = standing([expect("llm_started", within_ms)], [], now=now_ms / 1000)
    assert found.state is (State.FAILED if now_ms >= within_ms else State.OPEN)
    absent = replace(expect("llm_started", within_ms), absent=True)
    found = standing([absent], [], now=now_ms / 1000)
    assert found.state is (State.MET if now_ms >= within_ms else State.OPEN)


@given(st.integers(0, 3_000), st.integers(1, 3_000))
def test_what_must_be_absent_may_come_behind_its_time(at_ms: int, within_ms: int) -> None:
    absent = replace(expect("bot_interrupted", within_ms), absent=True)
    events = [happened(at_ms / 1000, "bot_interrupted")]
    found = standing([absent], events, now=3.0)
    assert found.state is (State.FAILED if at_ms <= within_ms else State.MET)


def test_absence_is_counted_behind_what_was_met_before_it() -> None:
    events = [happened(0.1, "bot_interrupted"), happened(0.2, "llm_started")]
    absent = replace(expect("bot_interrupted", 500), absent=True)
    assert standing([expect("llm_started"), absent], events).state is State.MET
    in_all = replace(absent, from_turn_start=True)
    assert standing([expect("llm_started"), in_all], events).state is State.FAILED


def test_a_later_expectation_is_not_failed_while_absence_waits() -> None:
    absent = replace(expect("bot_interrupted", 2_000), absent=True)
    assert standing([absent, expect("llm_started")], []).state is State.OPEN
    assert standing([absent, expect("llm_started")], [], over=True).state is State.FAILED
    met = [happened(0.5, "llm_started")]
    assert standing([absent, expect("llm_started")], met).state is State.OPEN
    assert standing([absent, expect("llm_started")], met, now=2.0).state is State.MET


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.data())
def test_words_of_a_reply_in_pieces_are_taken_together(
    words: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(words)))
    pieces = [" ".join(words[:cut]), " ".join(words[cut:])]
    events = [happened(0.1, "response", piece) for piece in pieces]
    whole = "  ".join(words).upper()
    assert standing([saying(whole)], events).state is State.MET
    assert standing([saying(f"{whole} violet")], events).state is State.OPEN
    excluding = saying("violet", not_saying=whole)
    assert standing([excluding], events).state is State.FAILED


def test_words_must_stand_in_one_event_where_events_have_no_pieces() -> None:
    events = [happened(0.1, "llm_started", "red"), happened(0.2, "llm_started", "green")]
    assert standing([saying("red green", event="llm_started")], events).state is State.OPEN
    assert standing([saying("green", event="llm_started")], events).state is State.MET


def test_what_was_said_instead_is_quoted() -> None:
    events = [happened(0.1, "response", "We are closed."), happened(0.2, "response", "Sorry.")]
    assert seen([saying("nine")], events, over=True) == "“We are closed.”; “Sorry.”"
    assert seen([saying("sorry", not_saying="closed")], events) == "“We are closed.”"
    assert seen([saying("nine")], [], over=True) == "the call ended"
    assert seen([saying("nine")], [], now=6.0) == "nothing"


@given(
    st.booleans(), st.booleans(), st.integers(0, 900), st.sampled_from(["response", "tts_response"])
)
def test_a_reply_without_words_is_one_that_was_begun_since_and_heard_whole(
    cut: bool, by_twilio: bool, began_ms: int, kind: str
) -> None:
    detail = {"start_secs": began_ms / 1000, "cut": cut, "by_twilio": by_twilio}
    reply = Happened(1.0, "agent", kind, "", detail)

    def state(expectation: Expectation) -> State:
        return stand(
            [expectation], [reply], turn_start=0, sent_at=0.5, now=1.0, over=False, acts=True
        ).state

    whole = began_ms >= 500 and not cut and not by_twilio
    assert state(expect(kind)) is (State.MET if whole else State.OPEN)
    # What must not come is looked for more strictly.
    assert state(replace(expect(kind), absent=True)) is State.FAILED


def test_what_nobody_understood_has_no_words_and_lacks_none() -> None:
    excluding = Expectation(HERE, "response", 5_000, text_excludes="closed")
    assert standing([excluding], [happened(0.1, "response", "")]).state is State.OPEN
    assert standing([excluding], [happened(0.1, "response", "Open.")]).state is State.MET


@given(st.permutations(["find", "book", "tell"]))
def test_calls_are_met_in_any_order(order: list[str]) -> None:
    events = [called(index / 10, name, seats=2) for index, name in enumerate(order)]
    wanted = [ToolCall("find"), ToolCall("book", {"seats": 2}), ToolCall("tell")]
    all_three = Expectation(HERE, "function_call", 5_000, calls=tuple(wanted))
    assert standing([all_three], events).state is State.MET
    assert standing([all_three], events[:-1]).state is State.OPEN
    wrong = replace(all_three, calls=(ToolCall("book", {"seats": 3}),))
    assert "seats=2" in seen([wrong], events, over=True)


def test_one_call_is_not_two() -> None:
    twice = Expectation(HERE, "function_call", 5_000, calls=(ToolCall("find"), ToolCall("find")))
    events = [called(0.1, "find"), called(0.2, "find")]
    assert standing([twice], events).state is State.MET
    assert standing([twice], events[:1]).state is State.OPEN


def test_arguments_are_a_part_of_those_made_and_none_is_not_missing() -> None:
    events = [called(0.1, "book", seats=2, note=None)]

    def met(**args: object) -> bool:
        wanted = Expectation(HERE, "function_call", 5_000, calls=(ToolCall("book", args),))
        return standing([wanted], events).state is State.MET

    assert met()
    assert met(note=None)
    assert not met(day=None)


def test_any_call_will_do_where_none_is_named() -> None:
    assert standing([expect("function_call")], [called(0.1, "find")]).state is State.MET


@given(
    st.lists(st.tuples(kinds, st.integers(0, 3_000)), max_size=8),
    st.lists(st.tuples(kinds, st.integers(1, 3_000), st.booleans()), max_size=4),
)
def test_nothing_is_open_once_the_call_is_over_or_all_time_is_up(
    came: list[tuple[str, int]], wanted: list[tuple[str, int, bool]]
) -> None:
    events = [happened(at / 1000, kind) for kind, at in came]
    expectations = [Expectation(HERE, kind, ms, absent=absent) for kind, ms, absent in wanted]
    for found in (
        standing(expectations, events, over=True),
        standing(expectations, events, now=3.0),
    ):
        assert found.state is not State.OPEN
        assert (found.failure is None) == (found.state is State.MET)


def test_an_expectation_in_words() -> None:
    call = ToolCall("book", {"seats": 2})
    assert in_words(Expectation(HERE, "function_call", 300, calls=(call, ToolCall()))) == (
        "function_call of book(seats=2), any function() within 300 ms"
    )
    assert in_words(replace(expect("bot_interrupted"), absent=True)).startswith("no bot_inter")
    assert in_words(saying("a", not_saying="b")) == "response with “a” without “b” within 5000 ms"


@given(st.text())
def test_case_and_white_space_do_not_count(text: str) -> None:
    assert normal(f"  {text}\n") == normal(text)
    assert normal(normal(text)) == normal(text)
