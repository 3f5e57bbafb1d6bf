"""Whether a call came out as its scenario says: status, record, and what was heard of it."""

from collections.abc import Iterator
from typing import Any

from server.emulators.twilio import EmulatedCall
from server.replay.events import REPLY_PAUSE_SECS
from server.replay.hearing import Hearing
from server.replay.matching import normal
from server.replay.results import Failure
from server.replay.scenario import Fact, Limit, NotChecked, Outcome, RecordedTurn

Checked = tuple[list[Failure], list[NotChecked]]


def check_outcome(
    outcome: Outcome,
    result: dict[str, Any],
    events: list[dict[str, Any]],
    call: EmulatedCall | None,
    hearing: Hearing,
    *,
    real: bool,
) -> Checked:
    """Everything of `outcome` that does not hold, and everything that cannot be known.

    `result` and `events` are the API's; `call` is None when Twilio took none; `real`: the model is
    the real one, whose words no recogniser knows beforehand.
    """
    failures = [
        *_fact("status", outcome.status, result["status"]),
        *_fact("end_reason", outcome.end_reason, result["end_reason"]),
        *_record(outcome, result["turns"]),
    ]
    kinds = {event["kind"] for event in events}
    for fact in outcome.events:
        if fact.value not in kinds:
            seen = ", ".join(sorted(kinds))
            failures.append(Failure(fact.where, f"an event {fact.value!r}", f"only {seen}"))
    if call is None:
        return failures, []
    if real:
        sounds = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms, outcome.uplink_lost_ms]
        asked = [limit.where for limit in sounds if limit is not None]
        asked += [sentence.where for sentence in outcome.heard]
        what = "the real Gemini's words and sound are not known beforehand"
        return failures + list(_measured(outcome, call, hearing)), [
            NotChecked(where, what) for where in asked
        ]
    failures += _heard(outcome, hearing)
    failures += _replies(outcome, call, hearing)
    failures += _measured(outcome, call, hearing)
    return failures, []


def _fact(name: str, fact: Fact | None, seen: Any) -> Iterator[Failure]:
    if fact is not None and fact.value != seen:
        yield Failure(fact.where, f"{name} {fact.value}", f"{name} {seen}")


def _record(outcome: Outcome, turns: list[dict[str, Any]]) -> Iterator[Failure]:
    if outcome.record is None:
        return
    for wanted, turn in zip(outcome.record, turns, strict=False):
        if not _is_turn(wanted, turn):
            yield Failure(wanted.where, _turn_in_words(wanted), _seen(turn))
            return
    if len(turns) < len(outcome.record):
        missing = outcome.record[len(turns)]
        yield Failure(missing.where, _turn_in_words(missing), "the record ends before it")
    elif len(turns) > len(outcome.record):
        extra = turns[len(outcome.record)]
        where = outcome.record[-1].where if outcome.record else None
        if where is not None:
            yield Failure(where, "no turn after this one", _seen(extra))


def _is_turn(wanted: RecordedTurn, turn: dict[str, Any]) -> bool:
    text = normal(turn["text"])
    return (
        turn["who"] == wanted.who
        and (wanted.text_contains is None or normal(wanted.text_contains) in text)
        and (wanted.text_excludes is None or normal(wanted.text_excludes) not in text)
        and (wanted.interrupted is None or wanted.interrupted == turn["interrupted"])
    )


def _turn_in_words(wanted: RecordedTurn) -> str:
    words = [f"a turn of the {wanted.who}"]
    if wanted.text_contains is not None:
        words.append(f"with “{wanted.text_contains}”")
    if wanted.text_excludes is not None:
        words.append(f"without “{wanted.text_excludes}”")
    if wanted.interrupted is not None:
        words.append("interrupted" if wanted.interrupted else "not interrupted")
    return " ".join(words)


def _seen(turn: dict[str, Any]) -> str:
    return f"{turn['who']}: “{turn['text']}”" + (" (interrupted)" if turn["interrupted"] else "")


def _heard(outcome: Outcome, hearing: Hearing) -> Iterator[Failure]:
    heard = [normal(sentence) for sentence in hearing.sentences if sentence is not None]
    position = 0
    for wanted in outcome.heard:
        text = normal(wanted.text)
        found = next((i for i in range(position, len(heard)) if text in heard[i]), None)
        if found is None:
            understood = "; ".join(f"“{s}”" if s else "(unclear)" for s in hearing.sentences)
            yield Failure(wanted.where, f"“{wanted.text}” to be heard", understood or "nothing")
            return
        position = found


def _replies(outcome: Outcome, call: EmulatedCall, hearing: Hearing) -> Iterator[Failure]:
    """What became of replies that nobody had a right to cut."""
    asked = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms]
    first_asked = next((limit for limit in asked if limit is not None), None)
    if first_asked is None:
        return
    for heard in hearing.whole_replies(call):
        text = heard.reply.text
        if heard.match is None:
            yield Failure(first_asked.where, f"“{text}” at the phone", "it is not there")
            return
        yield from _over(outcome.cut_off_ms, f"cut off the end of “{text}”", heard.match.cut_off_ms)
        yield from _over(
            outcome.altered_ms, f"lost from or added to “{text}”", heard.match.altered_ms
        )
        if not _spoke_at(call, heard.said_secs):
            late_ms = (heard.match.start_secs - heard.said_secs) * 1000
            yield from _over(outcome.added_ms, f"before “{text}” was heard", late_ms)


def _spoke_at(call: EmulatedCall, secs: float) -> bool:
    """Whether the phone was still hearing something else of the agent's then."""
    speech = call.record.agent_speech(pause_secs=REPLY_PAUSE_SECS)
    return any(span.start_secs < secs < span.end_secs for span in speech)


def _measured(outcome: Outcome, call: EmulatedCall, hearing: Hearing) -> Iterator[Failure]:
    record = call.record
    agent = [(s.start_secs, s.end_secs) for s in record.agent_speech(pause_secs=0.3)]
    caller = [(s.start_secs, s.end_secs) for s in record.said]
    if outcome.gaps is not None and len(record.gaps) > outcome.gaps.most:
        first = record.gaps[0]
        seen = f"{len(record.gaps)}, the first at {first.start_secs:.2f} s"
        yield Failure(outcome.gaps.where, f"at most {outcome.gaps.most:g} gaps", seen)
    yield from _over(outcome.uplink_lost_ms, "of the caller lost", hearing.uplink_lost_ms(call))
    yield from _over(outcome.response_ms, "to answer", max(hearing.response_ms(call), default=0))
    overlaps = [min(a[1], c[1]) - max(a[0], c[0]) for a in agent for c in caller]
    yield from _over(outcome.overlap_ms, "of both speaking", max([0.0, *overlaps]) * 1000)
    yield from _over(outcome.dead_air_ms, "of dead air", _longest_silence(agent + caller) * 1000)
    barge_ins = [a[1] - c[0] for c in caller for a in agent if a[0] < c[0] < a[1]]
    silence = max(barge_ins, default=0.0) * 1000
    yield from _over(outcome.barge_in_silence_ms, "until the agent fell silent", silence)


def _longest_silence(speech: list[tuple[float, float]]) -> float:
    """Between the first sound of anybody and the last."""
    longest, heard_until = 0.0, None
    for start, end in sorted(speech):
        if heard_until is not None:
            longest = max(longest, start - heard_until)
        heard_until = max(end, heard_until or end)
    return longest


def _over(limit: Limit | None, what: str, seen_ms: float) -> Iterator[Failure]:
    if limit is not None and seen_ms > limit.most:
        yield Failure(limit.where, f"at most {limit.most:g} ms {what}", f"{seen_ms:.0f} ms")
