"""API keys: how they are compared, and what becomes of those who guess."""

import hmac
from typing import Any

import pytest

from server.http.attempt_limit import AT_ONCE
from server.routes import auth as admission
from server.routes.auth import is_api_key
from server.settings.settings import Settings
from tests.server.conftest import ServerFactory
from tests.server.routes.test_bad_input import rejected


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


async def test_who_guesses_keys_is_slowed_down_and_who_has_one_is_not(
    start_server: ServerFactory,
) -> None:
    async with start_server(api_keys=("right",)) as server:
        wrong, right = ({"Authorization": f"Bearer {key}"} for key in ("wrong", "right"))
        answers = [await server.http.get("/calls", headers=wrong) for _ in range(AT_ONCE + 100)]
        refused = [answer.status_code for answer in answers]
        assert refused[:AT_ONCE] == [401] * AT_ONCE
        assert 429 in refused
        assert set(refused) == {401, 429}
        late = next(answer for answer in answers if answer.status_code == 429)
        assert int(late.headers["Retry-After"]) >= 1
        assert await server.metric(rejected("api_key")) == refused.count(401)
        assert await server.metric(rejected("api_key_rate")) == refused.count(429)
        assert (await server.http.get("/calls", headers=right)).status_code == 200
