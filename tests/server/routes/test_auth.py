"""API keys, and what counts as a local request where none is configured."""

import hmac
from typing import Any

import pytest

from server.routes import auth as admission
from server.routes.auth import is_api_key, may_come_from_outside
from server.settings.settings import Settings


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Every pair that was compared in constant time."""
    pairs: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        pairs.append((one, other))
        return real(one, other)

    monkeypatch.setattr(admission.hmac, "compare_digest", compare)
    return pairs


def test_every_key_is_compared_whichever_fits(compared: list[tuple[Any, Any]]) -> None:
    keys = Settings.model_validate({"api_keys": "one,two,three"}).api_keys
    assert is_api_key("one", keys)
    assert len(compared) == 3
    assert {len(digest) for pair in compared for digest in pair} == {32}
    assert not is_api_key("four", keys)
    assert not is_api_key("", keys)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8000"},
        {"host": "[::1]:8000"},
        {"host": "localhost"},
        {"host": "localhost.:8000"},
        {"host": "voice.localhost:8000"},
        {"host": "voice-ai:8000"},
        {"host": "my-laptop.local:8000"},
    ],
)
def test_a_request_to_an_address_or_a_local_name_came_from_near(headers: dict[str, str]) -> None:
    assert not may_come_from_outside(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "["},
        {"host": "evil.example.com:8000"},
        {"host": "127.0.0.1.evil.example.com"},
        {"host": "localhost.evil.example.com"},
        {"host": "localhost:8000", "x-forwarded-for": "192.0.2.1"},
        {"host": "localhost:8000", "forwarded": "for=192.0.2.1"},
        {"host": "localhost:8000", "x-forwarded-host": "voice.example.com"},
        {"host": "localhost:8000", "x-real-ip": "192.0.2.1"},
        {"host": "localhost:8000", "via": "1.1 proxy"},
    ],
)
def test_a_request_by_a_public_name_or_a_proxy_may_be_from_anywhere(
    headers: dict[str, str],
) -> None:
    assert may_come_from_outside(headers)
