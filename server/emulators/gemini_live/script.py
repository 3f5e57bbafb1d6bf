"""A script: which sentences the model understands, and what it then says and does.

    language: en-US
    not_understood: "Could you say that again?"
    rules:
      - hears: ["what are your opening hours", "when are you open"]
        say: "We are open from nine to five."
      - hears: "book a table for two"
        call: {name: book_table, args: {people: 2}}
      - tool_result: book_table
        where: {status: ok}
        say: "Your table is booked for {time}."
      - text_matches: 'pressed (\\d)'
        say: "You pressed \\1."
      - hears: "thank you goodbye"
        do:
          - say: "Goodbye."
          - call: {name: hang_up, optional: true}

Rules are tried in order; `times: 1` limits one. After the last rule stands a built-in one: a text
that asks for something `word for word: "…"` is obeyed with exactly the quoted words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from server.emulators.ears import Ears
from server.emulators.gemini_live.faults import ConnectFault
from server.emulators.gemini_live.rules import ANY_SPEECH, Hears, Rule
from server.emulators.gemini_live.script_parser import parse, parse_yaml
from server.emulators.gemini_live.steps import Say, Step

_WORD_FOR_WORD = re.compile(r'word for word:\s*(?:“(.+)”|"(.+)"|«(.+)»)', re.DOTALL)


@dataclass(frozen=True)
class Script:
    """Immutable: how often a rule was used belongs to the conversation, not here."""

    rules: tuple[Rule, ...] = ()
    language: str = "en-US"
    not_understood: str | None = None
    connects: tuple[ConnectFault, ...] = ()

    @classmethod
    def load(cls, path: Path | str) -> "Script":
        """Read a script from a YAML file.

        Raises: ScriptError, OSError.
        """
        return parse_yaml(Path(path).read_text(encoding="utf-8"), str(path), cls)

    @classmethod
    def parse(cls, script: Mapping[str, Any]) -> "Script":
        """Take a script from plain values, as YAML would give them.

        Raises: ScriptError.
        """
        return parse(script, cls)

    @classmethod
    def default(cls) -> "Script":
        """A restaurant that tells its hours, books tables and says goodbye."""
        source = files("server.emulators.gemini_live") / "default_script.yaml"
        return parse_yaml(source.read_text(encoding="utf-8"), "default_script.yaml", cls)

    @cached_property
    def ears(self) -> Ears:
        """Hears the sentences of the rules."""
        sentences = [
            sentence
            for rule in self.rules
            if isinstance(rule.trigger, Hears)
            for sentence in rule.trigger.sentences
            if sentence != ANY_SPEECH
        ]
        return Ears(sentences, language=self.language)


def word_for_word(text: str) -> tuple[Step, ...] | None:
    """The built-in rule: saying what a text asks to be said, word for word."""
    match = _WORD_FOR_WORD.search(text)
    if match is None:
        return None
    quoted = next(group for group in match.groups() if group is not None)
    return (Say(quoted, quoted=True),)
