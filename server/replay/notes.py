"""Notes on a replay: tools that failed, and what a turn that failed leaves unplayed and unchecked.

A caller whose turn failed hangs up; what the later turns would have brought about never happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from server.replay.scenario import Outcome

_OF_THE_WHOLE_CALL = ("record", "heard", "events")
_OF_ITS_END = ("status", "end_reason")


def unplayed(failed_turn: int, turns: int) -> list[str]:
    """Which of so many turns were not played; turns count from 1."""
    first = failed_turn + 1
    if first > turns:
        return []
    were = f"turn {turns} was" if first == turns else f"turns {first} to {turns} were"
    return [f"{were} not played, because turn {failed_turn} failed"]


def still_asked(outcome: Outcome, failed_turn: int, *, hung_up: bool) -> tuple[Outcome, list[str]]:
    """The outcome without what only follows from the failed turn, and what was left out.

    `hung_up`: the caller ended the call, because the turn had failed.
    """
    follows = (*_OF_ITS_END, *_OF_THE_WHOLE_CALL) if hung_up else _OF_THE_WHOLE_CALL
    left_out = [name for name in follows if getattr(outcome, name) not in (None, ())]
    if not left_out:
        return outcome, []
    kept = replace(
        outcome,
        record=None,
        heard=(),
        events=(),
        status=None if hung_up else outcome.status,
        end_reason=None if hung_up else outcome.end_reason,
    )
    were = "was" if len(left_out) == 1 else "were"
    return kept, [f"{', '.join(left_out)} {were} not checked, because turn {failed_turn} failed"]


def tool_failures(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each tool that failed, from the call's events."""
    failed = [e["detail"] for e in events if e["kind"] == "tool.answered" and not e["detail"]["ok"]]
    return [f"tool {it['name']} failed: {it.get('why') or 'no reason is known'}" for it in failed]
