"""When a scripted model does what: one trigger per rule, tried in the order of the script."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.emulators.gemini_live.steps import Step, expanded

ANY_SPEECH = "*"

_PLACE = re.compile(r"\{([\w.]+)\}")


@dataclass(frozen=True, slots=True)
class Hears:
    """The caller said one of these sentences; "*" is any speech, recognised or not."""

    sentences: tuple[str, ...]

    def answers(self, sentence: str | None) -> bool:
        """Whether this is one of them; None is speech that was not recognised."""
        if ANY_SPEECH in self.sentences:
            return True
        said = None if sentence is None else _words(sentence)
        return any(_words(mine) == said for mine in self.sentences)


@dataclass(frozen=True, slots=True)
class TextMatches:
    """A text came in that this pattern finds something in. `say` may use `\\1` and `\\g<name>`."""

    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A function answered. `where` is a part of its answer; `say` may use `{field}` of it."""

    name: str
    where: Mapping[str, Any] = field(default_factory=dict)


Trigger = Hears | TextMatches | ToolResult


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger and what follows from it, at most `times` times in a conversation."""

    trigger: Trigger
    steps: tuple[Step, ...]
    times: int | None = None

    def for_speech(self, sentence: str | None) -> tuple[Step, ...] | None:
        """The steps, when the caller's speech triggers them."""
        heard = isinstance(self.trigger, Hears) and self.trigger.answers(sentence)
        return self.steps if heard else None

    def for_text(self, text: str) -> tuple[Step, ...] | None:
        """The steps, filled in, when a text triggers them."""
        if not isinstance(self.trigger, TextMatches):
            return None
        match = self.trigger.pattern.search(text)
        return None if match is None else expanded(self.steps, match.expand)

    def for_tool_result(self, name: str, response: Mapping[str, Any]) -> tuple[Step, ...] | None:
        """The steps, filled in, when a function's answer triggers them."""
        if not isinstance(self.trigger, ToolResult) or self.trigger.name != name:
            return None
        answer = answered(response)
        if not _contains(answer, self.trigger.where) and not _contains(
            response, self.trigger.where
        ):
            return None

        def fill(text: str) -> str:
            return _PLACE.sub(lambda match: _field(answer, response, match), text)

        return expanded(self.steps, fill)


def answered(response: Mapping[str, Any]) -> Any:
    """What the function returned: clients wrap it in `result` or `output`, or in nothing."""
    for wrapper in ("result", "output"):
        if wrapper in response:
            return response[wrapper]
    return response


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            key in whole and _contains(whole[key], value) for key, value in part.items()
        )
    return bool(whole == part)


def _field(answer: Any, response: Mapping[str, Any], match: re.Match[str]) -> str:
    for value in (answer, response):
        found = True
        for name in match.group(1).split("."):
            if not isinstance(value, Mapping) or name not in value:
                found = False
                break
            value = value[name]
        if found:
            return str(value)
    return match.group(0)
