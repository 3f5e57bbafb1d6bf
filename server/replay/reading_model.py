"""The emulated model of a scenario, from a file: its script, its times, and what goes wrong."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from server.emulators.gemini_live.script import Script
from server.replay.fields import Fields
from server.replay.problems import Findings
from server.replay.scenario import Fault, ModelPlan, Where
from server.replay.yaml_lines import Entry, Node

MODEL_KEYS = (
    *("setup_ms", "thinking_ms", "language", "not_understood", "rules"),
    *("refuse", "faults"),
)

_SCRIPT_KEYS = ("language", "not_understood", "rules")
_REFUSALS = ("http_status", "close", "stall")
_FAULTS: tuple[Literal["drop", "go_away", "stall", "garbage", "send", "lose_stream"], ...] = (
    *("drop", "go_away", "stall", "garbage", "send", "lose_stream"),
)
# How the emulator's complaints begin: the key's path, `rules[0].do[1].say`.
_COMPLAINT = re.compile(r"script: (?P<path>.*?): (?P<said>.*)", re.DOTALL)
_STEP = re.compile(r"\[(?P<index>\d+)\]|(?P<key>[^.\[\]]+)")


Key = TypeVar("Key", bound=str)


def read_model(fields: Fields) -> ModelPlan:
    """The mapping under `gemini`."""
    plain = ModelPlan()
    return ModelPlan(
        script=_script(fields),
        setup_ms=fields.whole("setup_ms", plain.setup_ms),
        thinking_ms=fields.whole("thinking_ms", plain.thinking_ms),
        connect_faults=tuple(
            _refusal(Fields(item, name, ("connects", "reason", *_REFUSALS), fields.findings))
            for name, item in fields.items("refuse")
        ),
        faults=tuple(
            fault
            for name, item in fields.items("faults")
            if (fault := _fault(item, name, fields.findings)) is not None
        ),
    )


def _script(fields: Fields) -> dict[str, Any]:
    script = {key: node.plain() for key in _SCRIPT_KEYS if (node := fields.node(key)) is not None}
    try:
        Script.parse(script)
    except (ValueError, OverflowError, RecursionError) as problem:
        complaint = _COMPLAINT.fullmatch(str(problem))
        path, said = complaint.group("path", "said") if complaint else ("rules", str(problem))
        where = _place(fields, path)
        fields.findings.wrong(where, fields.path(path), "the emulator's script", said)
    return script


def _place(fields: Fields, path: str) -> Where:
    """Where a path of the script stands in the file, as far as it leads."""
    steps = list(_STEP.finditer(path))
    if not steps or not steps[0]["key"]:
        return fields.where
    where = fields.at(steps[0]["key"])
    node = fields.node(steps[0]["key"])
    for step in steps[1:]:
        found: Node | Entry | None = None
        if node is not None and isinstance(node.value, tuple) and step["index"]:
            index = int(step["index"])
            found = node.value[index] if index < len(node.value) else None
        elif node is not None and isinstance(node.value, Mapping) and step["key"]:
            found = node.value.get(step["key"])
        if found is None:
            return where
        where, node = found.where, found.node if isinstance(found, Entry) else found
    return where


def _refusal(fields: Fields) -> dict[str, Any]:
    """A way to refuse a connect, as the emulator's `ConnectFault` takes it."""
    ways: dict[str, Any] = {
        "http_status": fields.whole("http_status", None, least=400, most=599),
        "close": fields.whole("close", None, least=1000, most=4999),
        "stall": fields.yes_no("stall", False) or None,
        "reason": fields.text("reason"),
    }
    if _one_of(fields, _REFUSALS) == "stall":
        _must_be_true(fields, "stall")
    refusal = {key: value for key, value in ways.items() if value is not None}
    node = fields.node("connects")
    if node is None:
        return refusal
    if isinstance(node.value, tuple):
        numbers = [item.value for _, item in fields.items("connects")]
    else:
        numbers = [node.value]
    whole = [n for n in numbers if isinstance(n, int) and not isinstance(n, bool) and n >= 1]
    if len(whole) != len(numbers) or not whole:
        fields.wrong("connects", "numbers of connects, counted from 1")
    return {**refusal, "connects": frozenset(whole)}


def _fault(node: Node, name: str, findings: Findings) -> Fault | None:
    fields = Fields(node, name, ("at_ms", *_FAULTS), findings)
    at_ms = fields.whole("at_ms", None)
    if not fields.has("at_ms"):
        fields.wrong("at_ms", "milliseconds from the answer")
    kind = _one_of(fields, _FAULTS)
    if kind is None or at_ms is None:
        return None
    if kind not in ("drop", "go_away", "send"):
        _must_be_true(fields, kind)
    return Fault(
        where=fields.where,
        kind=kind,
        at_ms=at_ms,
        code=fields.whole("drop", 1011, least=1000, most=4999),
        left_ms=fields.whole("go_away", 10_000),
        message=_message(fields),
    )


def _message(fields: Fields) -> Any:
    """What the model sends: any JSON value."""
    node = fields.node("send")
    message = None if node is None else node.plain()
    try:
        json.dumps(message)
    except (TypeError, ValueError, RecursionError):
        fields.wrong("send", "a JSON value")
    return message


def _must_be_true(fields: Fields, key: str) -> None:
    if fields.yes_no(key, True) is False:
        fields.wrong(key, "true")


def _one_of(fields: Fields, keys: tuple[Key, ...]) -> Key | None:
    given = [key for key in keys if fields.has(key)]
    if len(given) == 1:
        return given[0]
    if given:
        fields.wrong(given[1], f"nothing, for there is `{given[0]}`")
    else:
        fields.findings.wrong(
            fields.where, fields.name, f"one of {', '.join(keys)}", "none of them"
        )
    return None
