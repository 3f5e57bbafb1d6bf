"""Whether what happened is what a turn expects: values in, values out, asked after each event.

Expectations are met in order, each behind the one before it, unless it looks from the turn's start;
events of other kinds are passed over. Words of a reply that comes in pieces are taken together.

What was there before the caller did something is no consequence of it. A reply without words asked
of it has to be one: begun afterwards, heard to its end, and spoken by the agent.

    agent   ▒▒▒▒ greeting ▒▒▒▒▒▒▒|      ▒▒▒▒ reply ▒▒▒▒|
    caller         | sent                              response: this one, not the greeting
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

from server.replay.results import Failure, Happened
from server.replay.scenario import Expectation, ToolCall

# Events whose text may come in several pieces.
IN_PIECES = frozenset({"response", "llm_response", "tts_response", "user_transcription"})
HEARD = frozenset({"response", "tts_response"})
CALLS = frozenset({"function_call", "function_call_stopped"})


class State(Enum):
    """How an expectation stands."""

    MET = "met"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a turn's expectations stand; `failure` is the first that failed."""

    state: State
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    state: State
    # Indices of the events it used; the next one looks behind the last of them.
    used: tuple[int, ...] = ()
    seen: str = ""


def stand(
    expectations: Sequence[Expectation],
    events: Sequence[Happened],
    *,
    turn_start: int,
    sent_at: float,
    now: float,
    over: bool,
    acts: bool = False,
) -> Standing:
    """How things stand when everything until `now` is known (seconds, as the events' times).

    `turn_start` is the number of events there were when the turn began; budgets count from
    `sent_at`. `over`: the call has ended, so that nothing more will come. `acts`: the caller did
    something at `sent_at`, and only what came of it counts.
    """
    since = sent_at if acts else -inf
    cursor = turn_start
    used: set[int] = set()
    waiting = False
    for expectation in expectations:
        deadline = sent_at + expectation.within_ms / 1000
        start = turn_start if expectation.from_turn_start else cursor
        fresh = [
            index
            for index in range(start, len(events))
            if index not in used
            and (expectation.absent or _counts(expectation, events[index], since))
        ]
        look = _look(expectation, events, fresh, deadline)
        if expectation.absent:
            if look.state is State.MET:
                return _failed(expectation, look.seen)
            waiting = waiting or not (over or now >= deadline)
            continue
        if look.state is State.MET:
            used.update(look.used)
            cursor = max(cursor, look.used[-1] + 1)
            continue
        if look.state is State.FAILED or over or now >= deadline:
            return _failed(expectation, look.seen or ("the call ended" if over else "nothing"))
        return Standing(State.OPEN)
    return Standing(State.OPEN if waiting else State.MET)


def _counts(expectation: Expectation, event: Happened, since: float) -> bool:
    """Whether an event may be what is expected, but for its words and its time."""
    if event.at < since:
        return False
    words = expectation.text_contains is not None or expectation.text_excludes is not None
    if event.kind in HEARD and not words:
        detail = event.detail
        begun = float(detail.get("start_secs", event.at))
        return begun >= since and not detail.get("cut") and not detail.get("by_twilio")
    return True


def in_words(expectation: Expectation) -> str:
    """An expectation as a sentence."""
    parts = [("no " if expectation.absent else "") + expectation.event]
    if expectation.calls:
        parts.append("of " + ", ".join(_call_in_words(call) for call in expectation.calls))
    if expectation.text_contains is not None:
        parts.append(f"with “{expectation.text_contains}”")
    if expectation.text_excludes is not None:
        parts.append(f"without “{expectation.text_excludes}”")
    return " ".join([*parts, f"within {expectation.within_ms} ms"])


def normal(text: str) -> str:
    """Text as it is compared: case and white space do not count."""
    return " ".join(text.casefold().split())


def _failed(expectation: Expectation, seen: str) -> Standing:
    return Standing(State.FAILED, Failure(expectation.where, in_words(expectation), seen))


def _look(
    expectation: Expectation, events: Sequence[Happened], fresh: Sequence[int], deadline: float
) -> _Look:
    of_kind = [index for index in fresh if events[index].kind == expectation.event]
    in_time = [index for index in of_kind if events[index].at <= deadline]
    late = _late(expectation, events, of_kind, in_time)
    if expectation.event in CALLS:
        look = _look_for_calls(expectation, events, in_time)
    elif expectation.text_contains is not None or expectation.text_excludes is not None:
        look = _look_for_text(expectation, events, in_time)
    else:
        look = _Look(State.MET, (in_time[0],), events[in_time[0]].kind) if in_time else _OPEN
    if look.state is State.OPEN and late:
        return _Look(State.OPEN, seen=look.seen or late)
    return look


_OPEN = _Look(State.OPEN)


def _late(
    expectation: Expectation,
    events: Sequence[Happened],
    of_kind: Sequence[int],
    in_time: Sequence[int],
) -> str:
    if len(of_kind) == len(in_time):
        return ""
    first = events[next(index for index in of_kind if index not in in_time)]
    return f"{expectation.event} came late, at {first.at:.2f} s"


def _look_for_text(
    expectation: Expectation, events: Sequence[Happened], indices: Sequence[int]
) -> _Look:
    taken: list[int] = []
    for index in indices:
        if expectation.event not in IN_PIECES:
            taken = []
        taken.append(index)
        text = normal(" ".join(events[i].text for i in taken))
        excluded = expectation.text_excludes
        if excluded is not None and normal(excluded) in text:
            return _Look(State.FAILED, seen=_quoted(events, taken))
        # What nobody understood does not hold, whatever the words are.
        if not text:
            continue
        if expectation.text_contains is None or normal(expectation.text_contains) in text:
            return _Look(State.MET, tuple(taken), _quoted(events, taken))
    return _Look(State.OPEN, seen=_quoted(events, indices))


def _look_for_calls(
    expectation: Expectation, events: Sequence[Happened], indices: Sequence[int]
) -> _Look:
    used: list[int] = []
    for wanted in expectation.calls or (ToolCall(),):
        found = next((i for i in indices if i not in used and _is_call(wanted, events[i])), None)
        if found is None:
            made = ", ".join(_made(events[i]) for i in indices)
            return _Look(State.OPEN, seen=made)
        used.append(found)
    return _Look(State.MET, tuple(sorted(used)), ", ".join(_made(events[i]) for i in used))


def _is_call(wanted: ToolCall, event: Happened) -> bool:
    if wanted.name is not None and event.detail.get("name") != wanted.name:
        return False
    args = event.detail.get("args") or {}
    return all(key in args and args[key] == value for key, value in (wanted.args or {}).items())


def _call_in_words(call: ToolCall) -> str:
    args = ", ".join(f"{key}={value!r}" for key, value in (call.args or {}).items())
    return f"{call.name or 'any function'}({args})"


def _made(event: Happened) -> str:
    return _call_in_words(ToolCall(event.detail.get("name"), event.detail.get("args")))


def _quoted(events: Sequence[Happened], indices: Sequence[int]) -> str:
    return "; ".join(f"“{events[index].text}”" for index in indices)
