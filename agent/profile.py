"""Agent profile of one call: prompt, greeting, voice, language, turn detection and limits."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from math import isfinite
from string import Template
from types import NoneType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Sensitivity = Literal["HIGH", "LOW"]

DEFAULT_SYSTEM_PROMPT = (
    "You are a friendly assistant on a phone call. Speak in short sentences, one idea at a time, "
    "without lists or symbols. When the caller is done, say goodbye and hang up with the tool."
)
DEFAULT_GREETING = "Hello! How can I help you today?"


FILLED_AT_MOST = 64_000
# A language tag, as far as Gemini's are (RFC 5646).
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"


class CannotBeFilled(ValueError):
    """A placeholder of the prompt or greeting cannot be filled; the message says why."""


class TooLong(CannotBeFilled):
    """The prompt or greeting is too long once its placeholders are filled."""


class NotSpeakable(CannotBeFilled):
    """A value that a placeholder names is not text and no number."""


class NotNameable(CannotBeFilled):
    """A placeholder is written in a way in which its name cannot be found."""


class Placeholders(Template):
    """Texts with `$name`, in any language, and `${any name}`, with spaces, dots or dashes in it."""

    flags = re.IGNORECASE | re.UNICODE
    idpattern = r"(?:[^\W\d]\w*)"
    braceidpattern = r"(?:[^{}$\r\n]+)"


class VadConfig(BaseModel):
    """Voice activity detection of the model; fields left out keep the model's defaults.

    Source: https://ai.google.dev/api/live#AutomaticActivityDetection
    """

    # Strict: `false` is no number of milliseconds.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    disabled: bool = False
    """`true`: our own detector tells the model when the caller speaks, instead of the model's."""
    start_sensitivity: Sensitivity | None = None
    """`HIGH`: speech is detected sooner, and noise is taken for it more often."""
    end_sensitivity: Sensitivity | None = None
    """`HIGH`: a turn ends sooner, and a pause is taken for its end more often."""
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=5_000)
    """How long speech has to last until it counts, in ms."""
    silence_duration_ms: int | None = Field(default=None, ge=0, le=10_000)
    """How long a caller is silent at the end of a turn, in ms: shorter answers sooner."""


class AgentProfile(BaseModel):
    """Everything about the agent that a call may set; the pipeline defines steps and tools."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    system_prompt: str = Field(default=DEFAULT_SYSTEM_PROMPT, max_length=32_000)
    """What the agent is told to be and to do. `$name` is filled from the call's `metadata`."""
    greeting: str = Field(default=DEFAULT_GREETING, max_length=4_000)
    """The agent's first words, filled as the prompt is. Empty: the caller speaks first."""
    voice: str | None = Field(default=None, max_length=64)
    """One of Gemini's voices; `GEMINI_VOICE` without one."""
    language: str = Field(default="en-US", pattern=LANGUAGE)
    """What the agent speaks, as a language tag (RFC 5646)."""
    vad: VadConfig = VadConfig()
    """Turn detection: `vad_config` of a request."""
    max_duration_seconds: int = Field(default=1800, ge=1, le=14_400)
    """The longest call, from the answer on, in seconds. Then the agent says goodbye."""
    answer_shield: Annotated[int, Field(ge=0, le=30_000)] | Literal["greeting"] = 1500
    """How long after the answer the model does not hear the caller, so that a "Hello?" does not cut
    the greeting: ms, 0 for not at all, or `greeting` for until it is over."""
    silence_seconds: float = Field(default=15.0, gt=0, le=600)
    """How long both sides may be silent before the agent asks, and then says goodbye."""
    cassette: bool | None = None
    """Keep a cassette of the call; as CASSETTES says without it."""
    answer_patience_secs: float = Field(default=2.5, ge=0, le=60)
    """How long a caller who has spoken hears nothing until a sentence bridges it; 0: never."""
    fallback_number: str | None = Field(default=None, pattern=r"^\+[1-9][0-9]{6,14}$")
    """Who is dialled when no session answers (E.164); without it, the caller hears an apology."""

    def filled_with(self, metadata: Mapping[str, Any]) -> Self:
        """Fill each `$name` and `${any name}` in prompt and greeting from `metadata`.

        Returns the filled profile. Unknown names are left as they are.

        Raises: CannotBeFilled when a value is not text and no number, when a name of `metadata` is
        written in a way in which it is not found, or when a text would have more than 64,000
        characters.
        """
        if "$" not in self.system_prompt and "$" not in self.greeting:
            return self
        return self.model_copy(
            update={
                "system_prompt": _filled(self.system_prompt, metadata),
                "greeting": _filled(self.greeting, metadata),
            }
        )


def placeholder_names(text: str) -> list[str]:
    """The names behind a `$` in a prompt or greeting, each once, in order."""
    template = Placeholders(unicodedata.normalize("NFC", text))
    found = (m["named"] or m["braced"] for m in template.pattern.finditer(template.template))
    return [*dict.fromkeys(name.strip() for name in found if name)]


def _filled(text: str, metadata: Mapping[str, Any]) -> str:
    if "$" not in text:
        return text
    # One letter can be written in two ways in Unicode.
    template = Placeholders(unicodedata.normalize("NFC", text))
    known = {unicodedata.normalize("NFC", name).strip(): value for name, value in metadata.items()}
    named = Counter(m["named"] or m["braced"] for m in template.pattern.finditer(template.template))
    _check_names(template.template, set(named), known)
    # Counted before it is filled: a short text may name a long value thousands of times.
    length = len(text)
    values: dict[str, str] = {}
    for name, times in named.items():
        # `named` has a None for each `$$`, and for each `$` that begins no name.
        if name is not None and (key := name.strip()) in known:
            values[name] = _spoken(key, known[key])
            length += times * len(values[name])
    if length > FILLED_AT_MOST:
        raise TooLong(f"prompt and greeting, once filled, may have {FILLED_AT_MOST} characters")
    return template.safe_substitute(values)


def _check_names(text: str, named: set[str | None], known: Mapping[str, Any]) -> None:
    """Check that each name that the text has behind a `$` is one that a placeholder finds."""
    text = text.replace("$$", "")
    by_any_case = {name.casefold(): name for name in known}
    for name in filter(None, named - known.keys()):
        if (meant := by_any_case.get(name.strip().casefold(), name.strip())) != name.strip():
            raise NotNameable(f"there is no {name!r}, but {meant!r}: write ${{{meant}}}")
    for name in known:
        if name in named or not name:
            continue
        if f"${{{name}}}" in text:
            raise NotNameable(
                f"the name {name!r} cannot be a placeholder: it has braces, $ or a line break in it"
            )
        if re.search(re.escape(f"${name}") + r"(?!\w)", text):
            raise NotNameable(f"the name {name!r} has to be in braces: ${{{name}}}")


def _spoken(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return str(value)
    kinds = {bool: "true or false", dict: "an object", list: "a list", NoneType: "null"}
    kind = kinds.get(type(value), "no finite number")
    raise NotSpeakable(f"{name!r} is {kind}, and ${name} would be spoken: give it as text")
