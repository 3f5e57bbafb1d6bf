"""Whether a call came out as its scenario says: status, record, and what was heard of it."""

from collections.abc import Iterator
from typing import Any

from server.emulators.twilio import EmulatedCall
from server.replay.figures_check import Findings, check_figures, check_replies, limits_of
from server.replay.hearing import Hearing
from server.replay.matching import normal
from server.replay.results import Failure
from server.replay.scenario import (
    Fact,
    HeardSentence,
    Limit,
    NotChecked,
    Outcome,
    RecordedTurn,
    Where,
)

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
    found = Findings()
    found.failures += _fact("status", outcome.status, result["status"])
    found.failures += _fact("end_reason", outcome.end_reason, result["end_reason"])
    found.failures += _record(outcome, result["turns"])
    found.failures += _events(outcome, events)
    if real:
        sounds = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms, outcome.uplink_lost_ms]
        asked: list[Limit | HeardSentence | None] = [*sounds, *outcome.heard]
        for limit in asked:
            found.leave_out(limit, "the model's words and sound are not known beforehand")
    else:
        found.failures += _heard(outcome, hearing)
    if call is None or call.line is None:
        for limit in limits_of(outcome, real=real):
            found.leave_out(limit, "nobody picked up")
        return found.failures, found.not_checked
    if not real:
        check_replies(outcome, call, hearing, found)
        if call.record.first("stream.started") is None:
            found.leave_out(outcome.uplink_lost_ms, "there was no stream")
        else:
            lost_ms = hearing.uplink_lost_ms(call)
            found.most(outcome.uplink_lost_ms, "of the caller lost", lost_ms)
    check_figures(outcome, call, hearing, found)
    return found.failures, found.not_checked


def _fact(name: str, fact: Fact | None, seen: Any) -> Iterator[Failure]:
    if fact is not None and fact.value != seen:
        yield Failure(fact.where, f"{name} {fact.value}", f"{name} {seen}")


def _events(outcome: Outcome, events: list[dict[str, Any]]) -> Iterator[Failure]:
    kinds = {event["kind"] for event in events}
    for fact in outcome.events:
        if fact.value not in kinds:
            seen = f"only {', '.join(sorted(kinds))}" if kinds else "none"
            yield Failure(fact.where, f"an event {fact.value!r}", seen)


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
        where, expected = _end_of_record(outcome.record, outcome.record_where)
        yield Failure(where, expected, _seen(turns[len(outcome.record)]))


def _end_of_record(record: tuple[RecordedTurn, ...], where: Where | None) -> tuple[Where, str]:
    if record:
        return record[-1].where, "no turn after this one"
    assert where is not None, "a record that is asked for stands somewhere"
    return where, "no turn"


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
    """Each sentence behind the one before it; several may have been heard in one breath."""
    heard = " / ".join(normal(sentence) for sentence in hearing.sentences if sentence)
    position = 0
    for wanted in outcome.heard:
        text = normal(wanted.text)
        at = heard.find(text, position)
        if at < 0:
            understood = "; ".join(f"“{s}”" if s else "(unclear)" for s in hearing.sentences)
            yield Failure(wanted.where, f"“{wanted.text}” to be heard", understood or "nothing")
            return
        position = at + len(text)
