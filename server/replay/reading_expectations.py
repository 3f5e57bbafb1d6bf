"""What a turn expects, from a file: the events, and what of them a telephone can show."""

from collections.abc import Mapping
from difflib import get_close_matches

from server.replay.fields import Fields
from server.replay.problems import Findings
from server.replay.scenario import DEFAULT_WITHIN_MS, Expectation, ToolCall
from server.replay.yaml_lines import Node

# Events with words in them.
WITH_TEXT = ("user_transcription", "response", "llm_response", "tts_response")
WITH_CALLS = ("function_call", "function_call_stopped")
SHOWN = (
    "user_started_speaking",
    "user_stopped_speaking",
    "vad_user_started_speaking",
    "vad_user_stopped_speaking",
    "bot_started_speaking",
    "bot_stopped_speaking",
    "bot_interrupted",
    "llm_started",
    *WITH_TEXT,
    *WITH_CALLS,
)
# Events of Pipecat's evals that a telephone cannot show, and why.
NOT_SHOWN = {
    "llm_marker": "the model's markers never leave it",
    "image": "a telephone shows no images",
    "bot_backchannel": "at the phone, the agent's backchannels are speech like any other",
    "user_backchannel": "at the phone, the caller's backchannels are speech like any other",
}

_MARKERS = ("marker", "marker_first", "markers", "text_after")
_MARKER_KINDS = ("complete", "short", "long", "incomplete")
_CONTENT = ("text_contains", "text_excludes", "eval", "calls", "name", "args", *_MARKERS)
_KEYS = ("event", "within_ms", "absent", "check_from", *_CONTENT)


def event_of(fields: Fields) -> str | None:
    """The name under `event`; None, and noted, if it is none of Pipecat's and ours."""
    event = fields.text("event")
    if event is None or event in SHOWN or event in NOT_SHOWN:
        return event
    near = get_close_matches(event, SHOWN, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    fields.wrong("event", f"one of {', '.join(SHOWN)}", f"{event!r}{meant}")
    return None


def read_expectation(node: Node, name: str, findings: Findings) -> Expectation | None:
    """One item of `expect`; None if it is wrong, or nothing that a phone can show."""
    fields = Fields(node, name, _KEYS, findings)
    event = event_of(fields)
    if event is None:
        if not fields.has("event"):
            fields.wrong("event", "the name of an event")
        return None
    absent = fields.yes_no("absent", False)
    check_from = fields.choice("check_from", ("previous", "turn_start"), "previous")
    if absent:
        for key in ("check_from", *_CONTENT):
            if fields.has(key):
                fields.wrong(key, "nothing, for an event that must be absent has nothing else")
    _check_markers(fields, event)
    if event == "function_call_stopped" and fields.has("eval"):
        fields.wrong("eval", "nothing, for a stopped call has no words to judge")
    criterion = fields.text("eval")
    expectation = Expectation(
        where=fields.where,
        event=event,
        within_ms=fields.whole("within_ms", DEFAULT_WITHIN_MS),
        text_contains=_words(fields, "text_contains", event),
        text_excludes=_words(fields, "text_excludes", event),
        calls=_calls(fields, event),
        absent=absent,
        from_turn_start=check_from == "turn_start",
        criterion=criterion,
    )
    if event in NOT_SHOWN:
        fields.leave_out("event", f"{event}: {NOT_SHOWN[event]}")
        return None
    if criterion is not None:
        fields.leave_out(
            "eval", f"eval “{criterion}”: nobody judges; that {event} comes is checked"
        )
    return expectation


def _check_markers(fields: Fields, event: str) -> None:
    for key in _MARKERS:
        if fields.has(key) and event != "llm_marker":
            fields.wrong(key, f"nothing, for only llm_marker has a {key}")
    fields.choice("marker", _MARKER_KINDS, None)
    fields.whole("markers", None)
    for key in ("marker_first", "text_after"):
        fields.yes_no(key, None)


def _words(fields: Fields, key: str, event: str) -> str | None:
    if fields.has(key) and event in SHOWN and event not in WITH_TEXT:
        fields.wrong(key, f"nothing, for only {', '.join(WITH_TEXT)} have words")
    return fields.text(key)


def _calls(fields: Fields, event: str) -> tuple[ToolCall, ...]:
    given = [key for key in ("calls", "name", "args") if fields.has(key)]
    if not given:
        return ()
    if event not in WITH_CALLS:
        fields.wrong(given[0], f"nothing, for only {', '.join(WITH_CALLS)} have {given[0]}")
        return ()
    if given[0] != "calls":
        return (ToolCall(fields.text("name"), _args(fields)),)
    if len(given) > 1:
        fields.wrong(given[1], "nothing, for `calls` says it")
    items = fields.items("calls")
    node = fields.node("calls")
    if not items and node is not None and isinstance(node.value, tuple):
        fields.wrong("calls", "at least one function", "an empty list")
    return tuple(_call(item, name, fields.findings) for name, item in items)


def _call(node: Node, name: str, findings: Findings) -> ToolCall:
    if isinstance(node.value, str) and node.value.strip():
        return ToolCall(node.value)
    if not isinstance(node.value, Mapping):
        findings.wrong(node.where, name, "a function's name or a mapping", node.shown())
        return ToolCall()
    fields = Fields(node, name, ("name", "args"), findings)
    return ToolCall(fields.text("name"), _args(fields))


def _args(fields: Fields) -> Mapping[str, object] | None:
    node = fields.free_mapping("args")
    return None if node is None else node.plain()
