"""Tokens for media streams: what lets in and what does not."""

import pytest

from server.twilio.stream_tokens import StreamTokens, TokenRefused

NOW = 1_700_000_000.0


def test_a_token_lets_its_call_in_while_it_is_good() -> None:
    tokens = StreamTokens("secret", good_for_secs=60)
    text = tokens.mint("call", "CA1", now=NOW)
    token = tokens.check(text, "call", now=NOW + 59)
    assert (token.call_id, token.call_sid) == ("call", "CA1")
    with pytest.raises(TokenRefused, match="too old"):
        tokens.check(text, "call", now=NOW + 61)


def test_each_token_has_its_own_id() -> None:
    tokens = StreamTokens("secret")
    texts = [tokens.mint("call", "CA1", now=NOW) for _ in range(100)]
    ids = {tokens.check(text, "call", now=NOW).token_id for text in texts}
    assert len(ids) == 100


def test_a_token_is_for_one_call() -> None:
    tokens = StreamTokens("secret")
    with pytest.raises(TokenRefused, match="another call"):
        tokens.check(tokens.mint("call", "CA1", now=NOW), "other", now=NOW)


def test_any_instance_with_the_secret_can_check_and_no_other() -> None:
    text = StreamTokens("secret").mint("call", "CA1", now=NOW)
    assert StreamTokens("secret").check(text, "call", now=NOW)
    with pytest.raises(TokenRefused, match="seal"):
        StreamTokens("guess").check(text, "call", now=NOW)


def test_every_changed_character_breaks_the_seal() -> None:
    tokens = StreamTokens("secret")
    text = tokens.mint("call", "CA1", now=NOW)
    for at, character in enumerate(text):
        forged = text[:at] + ("x" if character != "x" else "y") + text[at + 1 :]
        with pytest.raises(TokenRefused):
            tokens.check(forged, "call", now=NOW)


@pytest.mark.parametrize("text", ["", ".", "...", "call.CA1.1.x", "\ud800.é", "a" * 70_000])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        StreamTokens("secret").check(text, "call", now=NOW)
