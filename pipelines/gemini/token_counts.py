"""Reads how many tokens one turn used from Gemini's usage metadata.

Source: https://ai.google.dev/api/live#UsageMetadata
"""

from google.genai import types

from agent.ports import TokenCount

# What a database's integer holds; no turn has as many tokens.
MOST_TOKENS = 2**31 - 1


def token_counts(usage: types.UsageMetadata) -> list[TokenCount]:
    """The counts by direction and modality; those that cannot be true are left out."""
    by_direction = {
        "input": usage.prompt_tokens_details,
        "output": usage.response_tokens_details,
    }
    return [
        TokenCount(direction, _modality(detail.modality), count)
        for direction, details in by_direction.items()
        for detail in details or []
        if 0 < (count := detail.token_count or 0) <= MOST_TOKENS
    ]


def _modality(modality: types.MediaModality | None) -> str:
    if modality is None:
        return "text"
    # The SDK makes members of values that it does not know.
    return modality.value.lower() if modality.name in types.MediaModality.__members__ else "other"
