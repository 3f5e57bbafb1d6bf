"""Whether the figures of a call are within a scenario's limits.

A figure of which the call had nothing to measure (nobody was interrupted, nobody picked up) is
reported as not checked, never as held.
"""

from dataclasses import dataclass, field

from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.mulaw import RATE
from server.replay.events import REPLY_PAUSE_SECS
from server.replay.hearing import Hearing
from server.replay.results import Failure
from server.replay.scenario import HeardSentence, Limit, NotChecked, Outcome

_NO_END = (
    "every reply was interrupted, or the call ended within it, so that none has an end to look at: "
    "let the caller hear one out, or take this line out"
)


@dataclass
class Findings:
    """What does not hold, and what cannot be known."""

    failures: list[Failure] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def leave_out(self, asked: Limit | HeardSentence | None, why: str) -> None:
        """Report what was asked for, if it was, as not checked."""
        if asked is not None:
            self.not_checked.append(NotChecked(asked.where, why))

    def most(self, limit: Limit | None, what: str, seen_ms: float) -> None:
        """Fail what was asked for, if it was, and is above its limit."""
        if limit is not None and seen_ms > limit.most:
            expected = f"at most {limit.most:g} ms {what}"
            self.failures.append(Failure(limit.where, expected, f"{seen_ms:.0f} ms"))


def limits_of(outcome: Outcome, *, real: bool) -> list[Limit | None]:
    """All that are asked of a call's sound; of the real model's, those that can be checked."""
    figures = [outcome.gaps, outcome.response_ms, outcome.overlap_ms, outcome.dead_air_ms]
    figures.append(outcome.barge_in_silence_ms)
    if real:
        return figures
    sounds = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms, outcome.uplink_lost_ms]
    return [*figures, *sounds]


def check_replies(outcome: Outcome, call: EmulatedCall, hearing: Hearing, found: Findings) -> None:
    """What became of replies that nobody had a right to cut."""
    asked = [outcome.cut_off_ms, outcome.altered_ms, outcome.added_ms]
    first_asked = next((limit for limit in asked if limit is not None), None)
    if first_asked is None:
        return
    replies = hearing.whole_replies(call)
    if not replies:
        for limit in asked:
            found.leave_out(limit, _NO_END)
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


def check_figures(outcome: Outcome, call: EmulatedCall, hearing: Hearing, found: Findings) -> None:
    """What can be measured at the phone, whoever the model is."""
    record = call.record
    agent = [(s.start_secs, s.end_secs) for s in record.agent_speech(pause_secs=0.3)]
    caller = [(s.start_secs, s.end_secs) for s in record.said]
    if not agent:
        found.leave_out(outcome.gaps, "the agent was not heard")
    elif outcome.gaps is not None and len(record.gaps) > outcome.gaps.most:
        first = record.gaps[0]
        seen = f"{len(record.gaps)}, the first at {first.start_secs:.2f} s"
        expected = f"at most {outcome.gaps.most:g} gaps"
        found.failures.append(Failure(outcome.gaps.where, expected, seen))
    if responses := hearing.response_ms(call):
        found.most(outcome.response_ms, "to answer", max(responses))
    else:
        found.leave_out(outcome.response_ms, "nothing that the caller said was answered")
    overlaps = [min(a[1], c[1]) - max(a[0], c[0]) for a in agent for c in caller]
    if overlaps:
        found.most(outcome.overlap_ms, "of both speaking", max([0.0, *overlaps]) * 1000)
    else:
        found.leave_out(outcome.overlap_ms, "one side never spoke")
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
