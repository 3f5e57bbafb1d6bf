"""Tokens for media streams: what lets in and what does not."""

import pytest

from server.twilio.stream_tokens import StreamTokens, TokenRefused

NOW = 1_700_000_000.0


def test_a_token_lets_its_call_in_while_it_is_good() -> None:
    tokens = StreamTokens("secret", good_for_secs=60)
    text = tokens.mint("call", now=NOW)
    assert tokens.check(text, "call", now=NOW + 59).call_id == "call"
    with pytest.raises(TokenRefused, match="too old"):
        tokens.check(text, "call", now=NOW + 61)


def test_each_token_has_its_own_id() -> None:
    tokens = StreamTokens("secret")
    ids = {tokens.check(tokens.mint("call", now=NOW), "call", now=NOW).token_id for _ in range(100)}
    assert len(ids) == 100


def test_a_token_is_for_one_call() -> None:
    tokens = StreamTokens("secret")
    with pytest.raises(TokenRefused, match="another call"):
        tokens.check(tokens.mint("call", now=NOW), "other", now=NOW)


def test_any_instance_with_the_secret_can_check_and_no_other() -> None:
    text = StreamTokens("secret").mint("call", now=NOW)
    assert StreamTokens("secret").check(text, "call", now=NOW)
    with pytest.raises(TokenRefused, match="seal"):
        StreamTokens("guess").check(text, "call", now=NOW)


def test_every_changed_character_breaks_the_seal() -> None:
    tokens = StreamTokens("secret")
    text = tokens.mint("call", now=NOW)
    for at, character in enumerate(text):
        forged = text[:at] + ("x" if character != "x" else "y") + text[at + 1 :]
        with pytest.raises(TokenRefused):
            tokens.check(forged, "call", now=NOW)


@pytest.mark.parametrize("text", ["", ".", "...", "call.1.x", "\ud800.é", "a" * 70_000])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        StreamTokens("secret").check(text, "call", now=NOW)
