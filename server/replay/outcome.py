"""Whether a call came out as its scenario says: status, record, and what was heard of it.

A figure of which the call had nothing to measure (nobody was interrupted, nobody picked up) is
reported as not checked, never as held.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.mulaw import RATE
from server.replay.events import REPLY_PAUSE_SECS
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
    found = _Findings()
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
        for limit in _limits(outcome, real=real):
            found.leave_out(limit, "nobody picked up")
        return found.failures, found.not_checked
    if not real:
        _check_replies(outcome, call, hearing, found)
        lost_ms = hearing.uplink_lost_ms(call)
        found.most(outcome.uplink_lost_ms, "of the caller lost", lost_ms)
    _check_figures(outcome, call, hearing, found)
    return found.failures, found.not_checked


@dataclass
class _Findings:
    failures: list[Failure] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def leave_out(self, asked: Limit | HeardSentence | None, why: str) -> None:
        if asked is not None:
            self.not_checked.append(NotChecked(asked.where, why))

    def most(self, limit: Limit | None, what: str, seen_ms: float) -> None:
        if limit is not None and seen_ms > limit.most:
            expected = f"at most {limit.most:g} ms {what}"
            self.failures.append(Failure(limit.where, expected, f"{seen_ms:.0f} ms"))


def _limits(outcome: Outcome, *, real: bool) -> list[Limit | None]:
    """All that are asked of a call's sound; of the real model's, those that can be checked."""
    figures = [outcome.gaps, outcome.response_ms, outcome.overlap_ms, outcome.dead_air_ms]
    figures.append(outcome.barge_in_silence_ms)
    if real:
        return figures
    sounds = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms, outcome.uplink_lost_ms]
    return [*figures, *sounds]


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


def _check_replies(
    outcome: Outcome, call: EmulatedCall, hearing: Hearing, found: _Findings
) -> None:
    """What became of replies that nobody had a right to cut."""
    asked = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms]
    first_asked = next((limit for limit in asked if limit is not None), None)
    if first_asked is None:
        return
    replies = hearing.whole_replies(call)
    if not replies:
        for limit in asked:
            found.leave_out(limit, "the model said no reply to its end")
        return
    started = call.record.first("stream.started")
    listens_from = call.record.secs(started) if started is not None else 0.0
    for heard in replies:
        text = heard.reply.text
        if heard.match is None:
            missing = Failure(first_asked.where, f"“{text}” at the phone", "it is not there")
            found.failures.append(missing)
            return
        found.most(outcome.cut_off_ms, f"cut off the end of “{text}”", heard.match.cut_off_ms)
        found.most(outcome.altered_ms, f"lost from or added to “{text}”", heard.match.altered_ms)
        if not _spoke_at(call, heard.said_secs):
            # What the model said while it rang could not be heard before the stream was there.
            could_be_heard = max(heard.said_secs, listens_from)
            late_ms = (heard.match.start_secs - could_be_heard) * 1000
            found.most(outcome.added_ms, f"before “{text}” was heard", late_ms)


def _spoke_at(call: EmulatedCall, secs: float) -> bool:
    """Whether the phone was still hearing something else of the agent's then."""
    speech = call.record.agent_speech(pause_secs=REPLY_PAUSE_SECS)
    return any(span.start_secs < secs < span.end_secs for span in speech)


def _check_figures(
    outcome: Outcome, call: EmulatedCall, hearing: Hearing, found: _Findings
) -> None:
    record = call.record
    agent = [(s.start_secs, s.end_secs) for s in record.agent_speech(pause_secs=0.3)]
    caller = [(s.start_secs, s.end_secs) for s in record.said]
    if outcome.gaps is not None and len(record.gaps) > outcome.gaps.most:
        first = record.gaps[0]
        seen = f"{len(record.gaps)}, the first at {first.start_secs:.2f} s"
        expected = f"at most {outcome.gaps.most:g} gaps"
        found.failures.append(Failure(outcome.gaps.where, expected, seen))
    if responses := hearing.response_ms(call):
        found.most(outcome.response_ms, "to answer", max(responses))
    else:
        found.leave_out(outcome.response_ms, "nothing that the caller said was answered")
    overlaps = [min(a[1], c[1]) - max(a[0], c[0]) for a in agent for c in caller]
    found.most(outcome.overlap_ms, "of both speaking", max([0.0, *overlaps]) * 1000)
    lasted_secs = len(record.agent_audio) / 2 / RATE
    dead_air_ms = longest_silence(agent + caller, lasted_secs) * 1000
    found.most(outcome.dead_air_ms, "of dead air", dead_air_ms)
    if barge_ins := [a[1] - c[0] for c in caller for a in agent if a[0] < c[0] < a[1]]:
        silence_ms = max(barge_ins) * 1000
        found.most(outcome.barge_in_silence_ms, "until the agent fell silent", silence_ms)
    else:
        found.leave_out(outcome.barge_in_silence_ms, "nobody interrupted the agent")


def longest_silence(speech: list[tuple[float, float]], lasted_secs: float) -> float:
    """The longest stretch, from the answer to the end, in which nobody speaks; seconds."""
    longest = heard_until = 0.0
    for start, end in [*sorted(speech), (lasted_secs, lasted_secs)]:
        longest = max(longest, start - heard_until)
        heard_until = max(end, heard_until)
    return longest
