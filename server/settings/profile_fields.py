"""Agent profile fields that a request or INBOUND_NUMBERS may set, and their types."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from agent.profile import LANGUAGE, AgentProfile, VadConfig

# E.164 (ITU-T): a plus, a country code that never starts with 0, 15 digits at most.
E164 = r"^\+[1-9][0-9]{6,14}$"


def _e164(number: str) -> str:
    if not re.fullmatch(E164.removesuffix("$"), number):
        raise ValueError("must be a number with its country code, such as +15550100123")
    return number


PhoneNumber = Annotated[
    str, AfterValidator(_e164), WithJsonSchema({"type": "string", "pattern": E164})
]

LANGUAGE_LONGEST = 35  # RFC 5646, section 4.4.1


def _language_tag(tag: str) -> str:
    if len(tag) > LANGUAGE_LONGEST or not re.fullmatch(LANGUAGE, tag):
        raise ValueError("must be a language tag, such as en-US")
    return tag


Language = Annotated[
    str,
    AfterValidator(_language_tag),
    WithJsonSchema({"type": "string", "pattern": LANGUAGE, "maxLength": LANGUAGE_LONGEST}),
]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


Text = Annotated[str, AfterValidator(_storable)]


class ProfileFields(BaseModel):
    """The profile fields that a request or a number may set; others come from the pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    greeting: Text | None = Field(
        default=None, max_length=4_000, description="The agent's first words; empty: it waits."
    )
    system_prompt: Text | None = Field(default=None, max_length=32_000)
    max_duration_seconds: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=14_400,
        description="1800 unless the pipeline says otherwise.",
    )
    vad_config: VadConfig | None = None
    voice: Text | None = Field(default=None, min_length=1, max_length=64)
    answer_patience_secs: float | None = Field(
        default=None,
        strict=True,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="How long a caller who has spoken hears nothing before the agent says "
        '"One moment, please." and another session is tried; 0: never. 2.5 by default.',
    )
    fallback_number: PhoneNumber | None = Field(
        default=None, description="Who is dialled when the model gives no answer."
    )
    language: Language | None = Field(default=None, examples=["en-US"])
    cassette: bool | None = Field(
        default=None,
        strict=True,
        description="Keep a cassette of the call; left out: as CASSETTES says.",
    )

    def over(self, profile: AgentProfile, *, default_voice: str | None = None) -> AgentProfile:
        """`profile` with these fields overridden."""
        given = {
            "vad" if name == "vad_config" else name: getattr(self, name)
            for name in ProfileFields.model_fields
            if getattr(self, name) is not None
        }
        if profile.voice is None and default_voice is not None:
            given.setdefault("voice", default_voice)
        return profile.model_copy(update=given)
