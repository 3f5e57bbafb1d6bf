"""Scripts from YAML or plain values; every complaint names its line and key."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import yaml

from server.emulators.ears import Ears
from server.emulators.gemini_live.faults import ConnectFault
from server.emulators.gemini_live.rules import Hears, Rule, TextMatches, ToolResult, Trigger
from server.emulators.gemini_live.steps import (
    HALF_A_MESSAGE,
    INTERNAL_ERROR,
    USUAL_RATE,
    Call,
    Drop,
    FunctionCall,
    Garbage,
    GoAway,
    Pause,
    Say,
    Send,
    Stall,
    Step,
)

Path = tuple[str | int, ...]

TRIGGERS = ("hears", "text_contains", "text_matches", "tool_result")
STEPS = ("say", "call", "pause_secs", "go_away", "drop", "stall", "garbage", "send")
# What else a step may have, and of which steps.
EXTRAS = {
    "cut_after_secs": ("say",),
    "rate": ("say",),
    "mime_type": ("say",),
    "reason": ("drop",),
    "text_frame": ("garbage", "send"),
}
LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000  # Hz


class ScriptError(ValueError):
    """The script is wrong. Says where (file, line, key) and what would be right."""


class HasEars(Protocol):
    """What a script is made into: it fails with a ValueError when no ears can hear its rules."""

    @property
    def ears(self) -> Ears:
        """Hears the sentences of the rules."""


S = TypeVar("S", bound=HasEars)


def parse(script: Any, make: Callable[..., S]) -> S:
    """Make a script of plain values.

    Raises: ScriptError.
    """
    return _Parser("script", {}).script(script, make)


def parse_yaml(text: str, source: str, make: Callable[..., S]) -> S:
    """Make a script of YAML.

    Raises: ScriptError, which names `source` and the line.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else {}
    except yaml.YAMLError as problem:
        raise ScriptError(f"{source}: {problem}") from None
    finally:
        loader.dispose()
    lines: dict[Path, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return _Parser(source, lines).script(value, make)


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, str(key.value))] = key.start_mark.line + 1
            _note_lines(value, (*path, str(key.value)), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), lines)


class _Parser:
    def __init__(self, source: str, lines: Mapping[Path, int]) -> None:
        self._source = source
        self._lines = lines

    def script(self, value: Any, make: Callable[..., S]) -> S:
        fields = self._mapping(value, (), {"language", "rules", "not_understood", "connects"})
        rules = self._list(fields.get("rules", []), ("rules",))
        connects = self._list(fields.get("connects", []), ("connects",))
        not_understood = fields.get("not_understood")
        script = make(
            rules=tuple(self._rule(rule, ("rules", i)) for i, rule in enumerate(rules)),
            language=self._text(fields.get("language", "en-US"), ("language",)),
            not_understood=None
            if not_understood is None
            else self._text(not_understood, ("not_understood",)),
            connects=tuple(
                self._connect(fault, ("connects", i)) for i, fault in enumerate(connects)
            ),
        )
        try:
            assert script.ears
        except ValueError as problem:
            self._fail(("rules",), str(problem))
        return script

    def _rule(self, value: Any, path: Path) -> Rule:
        allowed = {*TRIGGERS, "where", "do", "say", "call", "times"}
        fields = self._mapping(value, path, allowed)
        given = [name for name in TRIGGERS if name in fields]
        if len(given) != 1:
            self._fail(path, f"a rule has one of {', '.join(TRIGGERS)}")
        name = given[0]
        if "where" in fields and name != "tool_result":
            self._fail((*path, "where"), "only a tool_result has a where")
        trigger = self._trigger(name, fields, path)
        times = fields.get("times")
        if times is not None and (not isinstance(times, int) or times < 1):
            self._fail((*path, "times"), "times is a whole number from 1 on")
        return Rule(trigger, self._steps(fields, path), times)

    def _trigger(self, name: str, fields: Mapping[str, Any], path: Path) -> Trigger:
        value, at = fields[name], (*path, name)
        if name == "hears":
            given = value if isinstance(value, list) else [value]
            sentences = tuple(self._text(entry, at) for entry in given)
            return Hears(sentences or self._fail(at, "there is no sentence"))
        if name == "tool_result":
            where = self._mapping(fields.get("where", {}), (*path, "where"), None)
            return ToolResult(self._text(value, at), where)
        pattern = self._text(value, at)
        if name == "text_contains":
            return TextMatches(re.compile(re.escape(pattern), re.IGNORECASE))
        try:
            return TextMatches(re.compile(pattern, re.DOTALL))
        except re.error as problem:
            self._fail(at, f"not a regular expression: {problem}")

    def _steps(self, fields: Mapping[str, Any], path: Path) -> tuple[Step, ...]:
        short = [name for name in ("say", "call") if name in fields]
        if "do" in fields:
            if short:
                self._fail(path, f"a rule has either do or {short[0]}")
            entries = self._list(fields["do"], (*path, "do"))
            return tuple(self._step(entry, (*path, "do", i)) for i, entry in enumerate(entries))
        if not short:
            self._fail(path, "a rule has something to say, call or do")
        return tuple(self._step({name: fields[name]}, path) for name in short)

    def _step(self, value: Any, path: Path) -> Step:
        fields = self._mapping(value, path, {*STEPS, *EXTRAS})
        given = [name for name in STEPS if name in fields]
        if len(given) != 1:
            self._fail(path, f"a step is one of {', '.join(STEPS)}")
        name = given[0]
        for extra, owners in EXTRAS.items():
            if extra in fields and name not in owners:
                self._fail((*path, extra), f"only {' and '.join(owners)} has {extra}")
        make: dict[str, Callable[[Any, Path, Mapping[str, Any]], Step]] = {
            "say": self._say,
            "call": lambda value, at, _: Call(self._calls(value, at)),
            "pause_secs": lambda value, at, _: Pause(self._secs(value, at)),
            "go_away": lambda value, at, _: GoAway(self._secs(value, at)),
            "drop": self._drop,
            "stall": lambda *_: Stall(),
            "garbage": lambda value, at, fields: Garbage(
                HALF_A_MESSAGE if value is True else self._text(value, at),
                self._text_frame(fields, at),
            ),
            "send": lambda value, at, fields: Send(
                self._json(value, at), self._text_frame(fields, at)
            ),
        }
        return make[name](fields[name], (*path, name), fields)

    def _say(self, value: Any, path: Path, fields: Mapping[str, Any]) -> Say:
        cut = fields.get("cut_after_secs")
        return Say(
            self._text(value, path),
            None if cut is None else self._secs(cut, (*path[:-1], "cut_after_secs")),
            rate=self._rate(fields.get("rate", USUAL_RATE), (*path[:-1], "rate")),
            mime_type=None
            if "mime_type" not in fields
            else self._text(fields["mime_type"], (*path[:-1], "mime_type")),
        )

    def _rate(self, value: Any, path: Path) -> int:
        if not isinstance(value, int) or not LOWEST_RATE <= value <= HIGHEST_RATE:
            self._fail(path, f"a rate in Hz from {LOWEST_RATE} to {HIGHEST_RATE} belongs here")
        return value

    def _json(self, value: Any, path: Path) -> Any:
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError) as problem:
            self._fail(path, f"a JSON value belongs here: {problem}")
        return value

    def _text_frame(self, fields: Mapping[str, Any], path: Path) -> bool:
        value = fields.get("text_frame", False)
        if not isinstance(value, bool):
            self._fail((*path[:-1], "text_frame"), "true or false belongs here")
        return value

    def _drop(self, value: Any, path: Path, fields: Mapping[str, Any]) -> Drop:
        if value is True:
            return Drop(code=None)
        if not isinstance(value, int):
            self._fail(path, "drop is a close code, or true for a dead network")
        return Drop(value, self._text(fields.get("reason", INTERNAL_ERROR), path))

    def _calls(self, value: Any, path: Path) -> tuple[FunctionCall, ...]:
        if isinstance(value, str):
            value = {"name": value}
        entries = value if isinstance(value, list) else [value]
        if not entries:
            self._fail(path, "there is no function to call")
        return tuple(self._call(entry, path) for entry in entries)

    def _call(self, value: Any, path: Path) -> FunctionCall:
        fields = self._mapping(value, path, {"name", "args", "optional"})
        return FunctionCall(
            name=self._text(fields.get("name"), (*path, "name")),
            args=self._mapping(fields.get("args", {}), (*path, "args"), None),
            optional=bool(fields.get("optional", False)),
        )

    def _connect(self, value: Any, path: Path) -> ConnectFault:
        fields = self._mapping(value, path, {"connect", "http_status", "close", "reason", "stall"})
        numbers = fields.get("connect")
        if isinstance(numbers, int):
            numbers = [numbers]
        try:
            return ConnectFault(
                http_status=fields.get("http_status"),
                close=fields.get("close"),
                reason=fields.get("reason", "The service is currently unavailable."),
                stall=bool(fields.get("stall", False)),
                connects=None if numbers is None else frozenset(numbers),
            )
        except (TypeError, ValueError) as problem:
            self._fail(path, str(problem))

    def _mapping(self, value: Any, path: Path, allowed: set[str] | None) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._fail(path, "a mapping of keys and values belongs here")
        for key in value:
            if allowed is not None and key not in allowed:
                self._fail((*path, key), f"unknown; there are {', '.join(sorted(allowed))}")
        return value

    def _list(self, value: Any, path: Path) -> Sequence[Any]:
        if not isinstance(value, list | tuple):
            self._fail(path, "a list belongs here")
        return value

    def _text(self, value: Any, path: Path) -> str:
        if not isinstance(value, str) or not value.strip():
            self._fail(path, "a text belongs here")
        return value

    def _secs(self, value: Any, path: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self._fail(path, "a number of seconds belongs here")
        return float(value)

    def _fail(self, path: Path, problem: str) -> NoReturn:
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known)
        where = self._source if line is None else f"{self._source}:{line}"
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        raise ScriptError(f"{where}: {key.lstrip('.') or 'script'}: {problem}")
