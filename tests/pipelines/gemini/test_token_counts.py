"""Tokens of one turn, as Gemini reports them."""

from typing import Any

import pytest
from google.genai import types

from agent.ports import TokenCount
from pipelines.gemini.token_counts import MOST_TOKENS, token_counts


def counted(**usage: Any) -> list[TokenCount]:
    return token_counts(types.UsageMetadata.model_validate(usage))


def test_tokens_are_counted_by_direction_and_modality() -> None:
    prompt = [{"modality": "AUDIO", "token_count": 40}, {"token_count": 9}]
    assert counted(
        prompt_tokens_details=prompt,
        response_tokens_details=[{"modality": "AUDIO", "token_count": 25}],
    ) == [
        TokenCount("input", "audio", 40),
        TokenCount("input", "text", 9),
        TokenCount("output", "audio", 25),
    ]


@pytest.mark.filterwarnings("ignore:SMELLS is not a valid MediaModality")
def test_a_modality_that_is_not_known_has_one_name() -> None:
    details = [{"modality": "SMELLS", "token_count": 5}]
    assert counted(response_tokens_details=details) == [TokenCount("output", "other", 5)]


@pytest.mark.parametrize("tokens", [None, 0, -1, MOST_TOKENS + 1])
def test_a_count_that_cannot_be_true_is_left_out(tokens: int | None) -> None:
    assert counted(prompt_tokens_details=[{"modality": "TEXT", "token_count": tokens}]) == []


def test_a_turn_without_details_counts_nothing() -> None:
    assert counted(total_token_count=7) == []
