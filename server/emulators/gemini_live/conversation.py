"""What of a conversation outlives its connection: a resumption handle brings back exactly this."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from server.emulators.gemini_live.rules import Rule
from server.emulators.gemini_live.script import Script, word_for_word
from server.emulators.gemini_live.steps import Say, Step
from server.emulators.gemini_live.usage import Context

Steps = tuple[Step, ...]


@dataclass(slots=True)
class Conversation:
    """How often each rule was used, what was said, and the tokens it all takes."""

    uses: dict[int, int] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    context: Context = field(default_factory=Context)

    def copy(self) -> "Conversation":
        """As it is now."""
        return deepcopy(self)

    def heard(self, script: Script, sentence: str | None) -> Steps | None:
        """What follows from speech; None is speech that was not recognised."""
        steps = self._first(script, lambda rule: rule.for_speech(sentence))
        if steps is None and script.not_understood is not None:
            return (Say(script.not_understood),)
        return steps

    def read(self, script: Script, text: str) -> Steps | None:
        """What follows from a text."""
        return self._first(script, lambda rule: rule.for_text(text)) or word_for_word(text)

    def learnt(self, script: Script, name: str, response: Mapping[str, Any]) -> Steps | None:
        """What follows from a function's answer."""
        return self._first(script, lambda rule: rule.for_tool_result(name, response))

    def _first(self, script: Script, steps_of: Callable[[Rule], Steps | None]) -> Steps | None:
        for index, rule in enumerate(script.rules):
            used = self.uses.get(index, 0)
            if rule.times is not None and used >= rule.times:
                continue
            steps = steps_of(rule)
            if steps is not None:
                self.uses[index] = used + 1
                return steps
        return None
