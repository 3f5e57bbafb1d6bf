"""How a call came out, on records made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.emulators.gemini_live.session_log import Reply
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.mulaw import RATE, encode
from server.emulators.twilio.playout import Gap
from server.emulators.twilio.record import Moment, Said
from server.emulators.twilio.sound import tone
from server.replay.figures_check import longest_silence
from server.replay.hearing import HeardReply, Hearing
from server.replay.outcome import check_outcome
from server.replay.results import Failure
from server.replay.scenario import (
    Fact,
    HeardSentence,
    Limit,
    NotChecked,
    Outcome,
    RecordedTurn,
)
from server.replay.sound_match import Match
from tests.server.replay.stands import Telephone, at, in_virtual_time

Spans = Sequence[tuple[float, float]]


@dataclass
class Ears:
    """What was heard, as given."""

    sentences: list[str | None] = field(default_factory=list)
    replies: list[HeardReply] = field(default_factory=list)
    responses: list[float] = field(default_factory=list)
    lost_ms: float = 0.0

    def whole_replies(self, call: EmulatedCall) -> list[HeardReply]:
        return self.replies

    def response_ms(self, call: EmulatedCall) -> list[float]:
        return self.responses

    def uplink_lost_ms(self, call: EmulatedCall) -> float:
        return self.lost_ms


def side(spans: Spans, lasts_secs: float) -> bytearray:
    samples = np.zeros(round(lasts_secs * RATE), np.int16)
    for start, end in spans:
        sound = tone(300, end - start)
        samples[round(start * RATE) : round(start * RATE) + len(sound)] = sound
    return bytearray(encode(samples))


def call_with(
    agent: Spans = (), caller: Spans = (), *, lasts_secs: float = 20.0, gaps: Spans = ()
) -> EmulatedCall:
    """A call that was answered, in which these spoke then; its stream began 0.1 s in."""

    async def scene() -> EmulatedCall:
        phone = Telephone()
        async with phone:
            assert phone.line is not None
            began = phone.line.answered_at
            phone.record.moments.append(Moment(began + 0.1, "stream.started", {}))
            phone.hang_up()
        phone.line.ear.heard = side(agent, lasts_secs)
        phone.line.spoken = side(caller, lasts_secs)
        phone.line.ear.gaps = [Gap(start, end - start, False) for start, end in gaps]
        phone.record.said = [Said("…", start, end) for start, end in caller]
        return phone.as_call()

    return in_virtual_time(scene)


def turn(who: str, text: str, *, interrupted: bool = False) -> dict[str, Any]:
    return {"who": who, "text": text, "interrupted": interrupted}


def check(
    outcome: Outcome,
    *,
    call: EmulatedCall | None = None,
    ears: Ears | None = None,
    turns: Sequence[dict[str, Any]] = (),
    status: str = "completed",
    end_reason: str | None = "caller",
    events: Sequence[str] = (),
    real: bool = False,
) -> tuple[list[Failure], list[NotChecked]]:
    return check_outcome(
        outcome,
        {"status": status, "end_reason": end_reason, "turns": list(turns)},
        [{"kind": kind} for kind in events],
        call,
        cast(Hearing, ears or Ears()),
        real=real,
    )


def failures(outcome: Outcome, **what: Any) -> list[Failure]:
    failed, not_checked = check(outcome, **what)
    assert not_checked == []
    return failed


def seen(outcome: Outcome, **what: Any) -> list[str]:
    return [failure.seen for failure in failures(outcome, **what)]


def heard_reply(
    *, said: float = 1.0, start: float = 1.1, altered_ms: float = 0.0, cut_off_ms: float = 0.0
) -> HeardReply:
    match = Match(start, start + 2.0, altered_ms, cut_off_ms)
    return HeardReply(Reply("We open at nine.", said), match, said)


def test_nothing_asked_nothing_failed() -> None:
    assert check(Outcome()) == ([], [])
    assert check(Outcome(), call=call_with([(1, 2)], [(3, 4)])) == ([], [])


def test_status_and_reason_must_be_as_they_are_there() -> None:
    asked = Outcome(status=Fact(at(3), "completed"), end_reason=Fact(at(4), "agent"))
    assert failures(asked, end_reason="agent") == []
    assert failures(asked, status="failed", end_reason=None) == [
        Failure(at(3), "status completed", "status failed"),
        Failure(at(4), "end_reason agent", "end_reason None"),
    ]


def test_events_must_be_there() -> None:
    asked = Outcome(events=(Fact(at(3), "tool.called"), Fact(at(4), "call.left")))
    assert failures(asked, events=["call.left", "tool.called"]) == []
    assert seen(asked, events=["call.left"]) == ["only call.left"]
    assert seen(asked) == ["none", "none"]


RECORD = (
    RecordedTurn(at(5), "agent", text_contains="Hello", text_excludes="bye", interrupted=False),
    RecordedTurn(at(6), "caller", text_contains="open"),
)
TURNS = [turn("agent", "Well,  hello there."), turn("caller", "Are you open?")]


def test_the_record_is_as_it_is_written_there() -> None:
    assert failures(Outcome(record=RECORD), turns=TURNS) == []


@pytest.mark.parametrize(
    ("turns", "line"),
    [
        ([TURNS[1], TURNS[0]], 5),
        ([turn("agent", "Hello. Goodbye."), TURNS[1]], 5),
        ([turn("agent", "Hello.", interrupted=True), TURNS[1]], 5),
        ([turn("caller", "Hello."), TURNS[1]], 5),
        ([TURNS[0], turn("caller", "Are you closed?")], 6),
        ([TURNS[0]], 6),
        ([], 5),
        ([*TURNS, turn("agent", "Yes.")], 6),
    ],
)
def test_another_record_fails_where_it_differs(turns: list[dict[str, Any]], line: int) -> None:
    (failure,) = failures(Outcome(record=RECORD), turns=turns)
    assert failure.where == at(line)


def test_no_turn_at_all_can_be_asked_for() -> None:
    asked = Outcome(record=(), record_where=at(9))
    assert failures(asked) == []
    assert failures(asked, turns=TURNS) == [
        Failure(at(9), "no turn", "agent: “Well,  hello there.”")
    ]


HEARD = (HeardSentence(at(3), "Good morning."), HeardSentence(at(4), "Goodbye."))


def test_sentences_are_heard_in_order_alone_or_in_one_breath() -> None:
    for sentences in (["good morning.", None, "Goodbye."], ["Good morning. Goodbye."]):
        assert failures(Outcome(heard=HEARD), call=call_with(), ears=Ears(sentences)) == []
    for sentences in (["Goodbye.", "Good morning."], ["Good morning.", None], [], ["Good"]):
        assert len(failures(Outcome(heard=HEARD), call=call_with(), ears=Ears(sentences))) == 1


def test_a_sentence_asked_for_twice_is_heard_twice() -> None:
    twice = Outcome(heard=(HEARD[0], HEARD[0]))
    assert failures(twice, ears=Ears(["Good morning.", "Good morning."])) == []
    assert seen(twice, ears=Ears(["Good morning.", None])) == ["“Good morning.”; (unclear)"]


def test_nothing_is_heard_of_a_call_that_never_was() -> None:
    assert seen(Outcome(heard=HEARD), call=None) == ["nothing"]


def most(limit: float) -> Limit:
    return Limit(at(7), limit)


@pytest.mark.parametrize(
    ("outcome", "call", "ears", "held", "failed"),
    [
        ("gaps", call_with([(1, 2)], gaps=[(1.2, 1.3), (1.5, 1.6)]), Ears(), 2, 1),
        ("uplink_lost_ms", call_with(), Ears(lost_ms=80), 80, 79),
        ("response_ms", call_with([(3, 4)], [(1, 2)]), Ears(responses=[900, 1_000]), 1000, 999),
        ("overlap_ms", call_with([(1, 4)], [(3, 5)]), Ears(), 1_020, 980),
        ("barge_in_silence_ms", call_with([(1, 3.4)], [(3, 5)]), Ears(), 420, 380),
        ("dead_air_ms", call_with([(1, 3)], [(3, 5), (9, 19)]), Ears(), 4_020, 3_980),
        ("cut_off_ms", call_with(), Ears(replies=[heard_reply(cut_off_ms=60)]), 60, 59),
        ("altered_ms", call_with(), Ears(replies=[heard_reply(altered_ms=40)]), 40, 39),
        ("added_ms", call_with(), Ears(replies=[heard_reply()]), 101, 99),
    ],
)
def test_a_figure_must_not_be_above_its_limit(
    outcome: str, call: EmulatedCall, ears: Ears, held: float, failed: float
) -> None:
    assert failures(Outcome(**{outcome: most(held)}), call=call, ears=ears) == []  # type: ignore[arg-type]
    (failure,) = failures(Outcome(**{outcome: most(failed)}), call=call, ears=ears)  # type: ignore[arg-type]
    assert failure.where == at(7)
    assert failure.expected.startswith(f"at most {failed:g} ")


ALL = ("gaps", "cut_off_ms", "altered_ms", "uplink_lost_ms", "added_ms", "response_ms")
ALL += ("overlap_ms", "dead_air_ms", "barge_in_silence_ms")


def all_limits() -> Outcome:
    return Outcome(**{name: Limit(at(n), 10_000) for n, name in enumerate(ALL, 20)})  # type: ignore[arg-type]


def test_what_a_call_gave_nothing_to_measure_of_is_not_checked() -> None:
    failed, left_out = check(all_limits(), call=None, status="busy")
    assert failed == []
    assert {it.where.line for it in left_out} == {20 + n for n in range(len(ALL))}
    assert {it.what for it in left_out} == {"nobody picked up"}
    failed, left_out = check(all_limits(), call=call_with([(1, 2)], lasts_secs=3))
    assert failed == []
    not_measured = {ALL[it.where.line - 20] for it in left_out}
    assert not_measured == {
        *("cut_off_ms", "altered_ms", "added_ms", "response_ms", "barge_in_silence_ms"),
        "overlap_ms",
    }


def test_of_the_real_model_words_and_sound_are_not_checked() -> None:
    asked = Outcome(status=Fact(at(3), "failed"), heard=HEARD, added_ms=most(1), gaps=most(0))
    call = call_with([(1, 2)], gaps=[(1.2, 1.3)])
    failed, left_out = check(asked, call=call, real=True)
    assert [failure.where for failure in failed] == [at(3), at(7)]
    assert [it.where for it in left_out] == [at(7), at(3), at(4)]


def test_a_reply_that_is_not_at_the_phone_fails() -> None:
    lost = HeardReply(Reply("We open at nine.", 1.0), None, 1.0)
    asked = Outcome(cut_off_ms=most(60))
    (failure,) = failures(asked, call=call_with(), ears=Ears(replies=[lost]))
    assert failure == Failure(at(7), "“We open at nine.” at the phone", "it is not there")


def test_a_reply_behind_another_may_wait_for_its_end() -> None:
    late = Ears(replies=[heard_reply(said=1.0, start=3.0)])
    asked = Outcome(added_ms=most(150))
    assert len(failures(asked, call=call_with([(3.0, 5.0)]), ears=late)) == 1
    assert failures(asked, call=call_with([(0.5, 5.0)]), ears=late) == []


def test_what_was_said_before_the_stream_began_counts_from_there() -> None:
    early = Ears(replies=[heard_reply(said=-2.0, start=0.2)])
    assert failures(Outcome(added_ms=most(101)), call=call_with(), ears=early) == []
    assert len(failures(Outcome(added_ms=most(99)), call=call_with(), ears=early)) == 1


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 10)), max_size=6),
    st.floats(60, 100),
)
def test_dead_air_is_the_longest_stretch_without_anybody(
    speech: list[tuple[float, float]], lasts: float
) -> None:
    spans = [(start, start + secs) for start, secs in speech]
    found = longest_silence(spans, lasts)
    edges = sorted({0.0, lasts, *(edge for span in spans for edge in span)})
    # The plain way: stretches between edges, joined where nobody speaks in them.
    longest = current = 0.0
    for low, high in pairwise(edges):
        middle = (low + high) / 2
        quiet = not any(start < middle < end for start, end in spans)
        current = current + high - low if quiet else 0.0
        longest = max(longest, current)
    assert found == pytest.approx(longest)


@pytest.mark.parametrize("outcome", ["gaps", "overlap_ms"])
def test_nothing_is_held_of_a_call_in_which_nobody_was_heard(outcome: str) -> None:
    asked = Outcome(**{outcome: most(0)})
    assert [it.where for it in check(asked, call=call_with())[1]] == [at(7)]
