"""Agent profile of one call: prompt, greeting, voice, language, turn detection and limits."""

from collections import Counter
from collections.abc import Mapping
from string import Template
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


class TooLong(ValueError):
    """The prompt or greeting is too long once its placeholders are filled."""


class VadConfig(BaseModel):
    """Voice activity detection of the model; fields left out keep the model's defaults.

    Source: https://ai.google.dev/api/live#AutomaticActivityDetection
    """

    # Strict: `false` is no number of milliseconds.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    disabled: bool = False
    start_sensitivity: Sensitivity | None = None
    end_sensitivity: Sensitivity | None = None
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=5_000)
    silence_duration_ms: int | None = Field(default=None, ge=0, le=10_000)


class AgentProfile(BaseModel):
    """Everything about the agent that a call may set; the pipeline defines steps and tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system_prompt: str = Field(default=DEFAULT_SYSTEM_PROMPT, max_length=32_000)
    # Empty: the caller speaks first.
    greeting: str = Field(default=DEFAULT_GREETING, max_length=4_000)
    voice: str | None = Field(default=None, max_length=64)
    language: str = Field(default="en-US", pattern=LANGUAGE)
    vad: VadConfig = VadConfig()
    max_duration_seconds: int = Field(default=1800, ge=1, le=14_400)
    # How long after the answer the model does not hear the caller, so that a "Hello?" does not cut
    # the greeting: ms, 0 for not at all, or until the greeting is over.
    answer_shield: Annotated[int, Field(ge=0, le=30_000)] | Literal["greeting"] = 1500
    # How long both sides may be silent before the agent asks, and then says goodbye.
    silence_seconds: float = Field(default=15.0, gt=0, le=600)

    def filled_with(self, metadata: Mapping[str, Any]) -> Self:
        """Fill each `$name` in prompt and greeting from `metadata`; return the filled profile.

        Unknown names are left as they are.

        Raises: TooLong when one of them would have more than 64,000 characters then.
        """
        if "$" not in self.system_prompt and "$" not in self.greeting:
            return self
        return self.model_copy(
            update={
                "system_prompt": _filled(self.system_prompt, metadata),
                "greeting": _filled(self.greeting, metadata),
            }
        )


def _filled(text: str, metadata: Mapping[str, Any]) -> str:
    if "$" not in text:
        return text
    template = Template(text)
    named = Counter(m["named"] or m["braced"] for m in template.pattern.finditer(text))
    # Counted before it is filled: a short text may name a long value thousands of times.
    length = len(text) + sum(
        times * len(str(metadata[name])) for name, times in named.items() if name in metadata
    )
    if length > FILLED_AT_MOST:
        raise TooLong(f"prompt and greeting, once filled, may have {FILLED_AT_MOST} characters")
    return template.safe_substitute(metadata)
