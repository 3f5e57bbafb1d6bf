"""What must be true once the call is over, from a file."""

from typing import Literal

from agent.lifecycle.statuses import CallStatus, EndReason
from server.replay.fields import Fields, text_of
from server.replay.scenario import Fact, HeardSentence, Limit, Outcome, RecordedTurn

LIMITS = (
    *("gaps", "cut_off_ms", "altered_ms", "uplink_lost_ms", "added_ms", "response_ms"),
    *("overlap_ms", "dead_air_ms", "barge_in_silence_ms"),
)
OUTCOME_KEYS = ("status", "end_reason", "record", "heard", *LIMITS, "events")

_STATUSES = tuple(status.value for status in CallStatus if status.is_terminal)
_REASONS = tuple(reason.value for reason in EndReason)
_SPEAKERS: tuple[Literal["caller", "agent"], ...] = ("caller", "agent")


def read_outcome(fields: Fields) -> Outcome:
    """The mapping under `outcome`."""
    return Outcome(
        status=_fact(fields, "status", _STATUSES),
        end_reason=_fact(fields, "end_reason", _REASONS),
        record=_record(fields),
        record_where=fields.at("record") if fields.has("record") else None,
        heard=tuple(
            HeardSentence(item.where, sentence)
            for name, item in fields.items("heard")
            if (sentence := text_of(item, name, fields.findings)) is not None
        ),
        gaps=_limit(fields, "gaps"),
        cut_off_ms=_limit(fields, "cut_off_ms"),
        altered_ms=_limit(fields, "altered_ms"),
        uplink_lost_ms=_limit(fields, "uplink_lost_ms"),
        added_ms=_limit(fields, "added_ms"),
        response_ms=_limit(fields, "response_ms"),
        overlap_ms=_limit(fields, "overlap_ms"),
        dead_air_ms=_limit(fields, "dead_air_ms"),
        barge_in_silence_ms=_limit(fields, "barge_in_silence_ms"),
        events=tuple(
            Fact(item.where, kind)
            for name, item in fields.items("events")
            if (kind := text_of(item, name, fields.findings)) is not None
        ),
    )


def _fact(fields: Fields, key: str, words: tuple[str, ...]) -> Fact | None:
    word = fields.choice(key, words, None)
    return None if word is None else Fact(fields.at(key), word)


def _limit(fields: Fields, key: str) -> Limit | None:
    most = fields.number(key)
    return None if most is None else Limit(fields.at(key), most)


def _record(fields: Fields) -> tuple[RecordedTurn, ...] | None:
    if not fields.has("record"):
        return None
    turns = []
    for name, item in fields.items("record"):
        turn = Fields(
            item, name, ("who", "text_contains", "text_excludes", "interrupted"), fields.findings
        )
        who = turn.choice("who", _SPEAKERS, None)
        if who is None:
            if not turn.has("who"):
                turn.wrong("who", "caller or agent")
            continue
        turns.append(
            RecordedTurn(
                where=turn.where,
                who=who,
                text_contains=turn.text("text_contains"),
                text_excludes=turn.text("text_excludes"),
                interrupted=turn.yes_no("interrupted", None),
            )
        )
    return tuple(turns)
