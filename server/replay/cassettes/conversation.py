"""Conversation: who said and did what in a cassette, as values: what a scenario is made from.

The model's rules come from its own messages: what it said and called, and what that followed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.phone.twilio_serializer import Dtmf, StreamError, decode
from pipelines.recording.tape import Kind
from server.cassettes.cassette import Cassette

# Keys pressed in so short a time are one number.
KEYS_TOGETHER_SECS = 2.5
_OF_THE_MACHINERY = ("latency.", "model.", "call.", "caller.", "tool.", "stream.", "greeting.")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn of the record; times in seconds from the answer."""

    who: Literal["caller", "agent"]
    text: str
    start: float
    end: float
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Pressed:
    """Keys that the caller pressed."""

    digits: str
    start: float


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that the model called."""

    name: str
    arguments: Mapping[str, Any]
    start: float


@dataclass(slots=True)
class Rule:
    """What the model did (`do`: steps of the emulator's script) after something."""

    kind: Literal["hears", "tool_result", "text_contains"]
    what: str
    do: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """All of it, in order."""

    spoken: list[Spoken] = field(default_factory=list)
    pressed: list[Pressed] = field(default_factory=list)
    called: list[Called] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    response_ms: list[float] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


def conversation_of(cassette: Cassette) -> Conversation:
    """Read the conversation out of a cassette."""
    found = Conversation(rules=_rules(cassette))
    answered = cassette.answered_at or 0.0
    for message in cassette.of(Kind.RECORD, Kind.PHONE_IN):
        at = message.at - answered
        if message.kind is Kind.PHONE_IN:
            if '"dtmf"' in message.content:
                _press(found, message.content, at)
            continue
        what, fields = message.content
        if what == "turn":
            found.spoken.append(_spoken(fields))
        else:
            _event(found, fields["kind"], fields["detail"], at)
    found.spoken.sort(key=lambda turn: turn.start)
    return found


def _spoken(turn: Mapping[str, Any]) -> Spoken:
    return Spoken(
        turn["who"], turn["text"], turn["start_ms"] / 1000, turn["end_ms"] / 1000,
        turn["interrupted"],
    )  # fmt: skip


def _press(found: Conversation, text: str, at: float) -> None:
    try:
        message = decode(text)
    except StreamError:
        return
    if not isinstance(message, Dtmf):
        return
    digit = message.digit
    last = found.pressed[-1] if found.pressed else None
    if last is not None and at - last.start < KEYS_TOGETHER_SECS:
        found.pressed[-1] = Pressed(last.digits + digit, last.start)
    else:
        found.pressed.append(Pressed(digit, at))


def _event(found: Conversation, kind: str, detail: Mapping[str, Any], at: float) -> None:
    if kind == "tool.called":
        found.called.append(Called(detail["name"], detail.get("arguments") or {}, at))
    elif kind == "latency.response":
        found.response_ms.append(float(detail["ms"]))
    elif not kind.startswith(_OF_THE_MACHINERY) and kind not in found.events:
        found.events.append(kind)


class _Model:
    """Follows the model's messages: what triggers it, and what it does then."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._current: Rule | None = None
        self._hearing = self._saying = ""

    def told(self, message: Mapping[str, Any]) -> None:
        """Our side told the model something."""
        for answer in _find(message, "functionResponses", "function_responses") or ():
            self._begin(Rule("tool_result", str(answer.get("name", ""))))
        text = (_find(message, "realtimeInput", "realtime_input") or {}).get("text")
        if isinstance(text, str):
            self._begin(Rule("text_contains", text))

    def says(self, message: Mapping[str, Any]) -> None:
        """The model sent a message."""
        content = message.get("serverContent") or {}
        if heard := (content.get("inputTranscription") or {}).get("text"):
            self._hearing += heard
        if said := (content.get("outputTranscription") or {}).get("text"):
            self._heard()
            self._saying += said
        if content.get("interrupted") or content.get("turnComplete"):
            self._said()
        for called in (message.get("toolCall") or {}).get("functionCalls", ()):
            self._heard()
            self._said()
            step: dict[str, Any] = {"name": called["name"]}
            if called.get("args"):
                step["args"] = called["args"]
            if self._current is not None:
                self._current.do.append({"call": step})

    def end(self) -> None:
        """No more messages."""
        self._heard()
        self._said()

    def _heard(self) -> None:
        words, self._hearing = " ".join(self._hearing.split()), ""
        if words:
            self._begin(Rule("hears", words))

    def _said(self) -> None:
        words, self._saying = " ".join(self._saying.split()), ""
        if words and self._current is not None:
            self._current.do.append({"say": words})

    def _begin(self, rule: Rule) -> None:
        self._said()
        self._current = rule
        self.rules.append(rule)


def _rules(cassette: Cassette) -> list[Rule]:
    model = _Model()
    for message in cassette.of(Kind.MODEL_IN, Kind.MODEL_OUT):
        if message.kind is Kind.MODEL_IN and '"inlineData"' in message.content:
            continue
        try:
            plain = json.loads(message.content)
        except ValueError:
            continue
        if isinstance(plain, Mapping):
            (model.says if message.kind is Kind.MODEL_IN else model.told)(plain)
    model.end()
    return list(_of_use(model.rules))


def _of_use(rules: Iterable[Rule]) -> Iterable[Rule]:
    """Rules that do something, each trigger once: the emulator's first rule that fits is used."""
    known: set[tuple[str, str]] = set()
    for rule in rules:
        key = (rule.kind, rule.what.casefold())
        if rule.do and key not in known:
            known.add(key)
            yield rule


def _find(message: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these names, at the top or one level below."""
    for inner in (message, *(value for value in message.values() if isinstance(value, Mapping))):
        for name in names:
            if name in inner:
                return inner[name]
    return None
