"""What the calls API refuses: wrong requests, and whoever has no key. Nothing comes of any."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.emulators.twilio import TwilioEmulator
from tests.server.conftest import SHARED, THEIRS, Running, running_server

pytestmark = SHARED


def nested(levels: int) -> dict[str, Any]:
    """An object in an object in …"""
    return {"deeper": nested(levels - 1)} if levels > 1 else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed_server(
    shared_twilio: TwilioEmulator, shared_folder: Path
) -> AsyncIterator[Running]:
    """A server that asks for a key."""
    async with running_server(shared_twilio, shared_folder, api_keys=("right", "other")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict_server(
    shared_twilio: TwilioEmulator, shared_folder: Path
) -> AsyncIterator[Running]:
    """A server that asks for a key, and may call some numbers alone."""
    strict: dict[str, Any] = {"api_keys": ("right",), "allowed_destinations": ("+1555",)}
    async with running_server(shared_twilio, shared_folder, **strict) as running:
        yield running


FIRST = '{"phone_number": "+15550100123"'


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [
        (FIRST + "}", {"Idempotency-Key": "x" * 201}, 422),
        (FIRST + "}", {"Idempotency-Key": "ö"}, 422),
        (FIRST + "}", {"Idempotency-Key": ""}, 422),
        (FIRST + "}", {"Content-Type": "text/plain"}, 422),
        (FIRST + ', "pipeline": "none"}', {}, 422),
        (FIRST + ', "max_duration_seconds": 1e400}', {}, 422),
        ("null", {}, 422),
        ("", {}, 422),
        ("[" * 10_000, {}, 400),
        ('{"phone_number": "+1900555"}', {}, 403),
        # The key is looked at before the body.
        (FIRST + "}", {"Authorization": "Bearer another"}, 401),
        (FIRST + "}", {"Authorization": "Basic right"}, 401),
        ('{"phone_number": 1}', {"Authorization": ""}, 401),
        ("null", {"Authorization": "", "Idempotency-Key": ""}, 401),
        ('{"phone_number": ', {"Authorization": ""}, 401),
        ("[" * 10_000, {"Authorization": ""}, 401),
        ("x" * 70_000, {"Authorization": ""}, 401),
        ("x" * 70_000, {}, 413),
    ],
)
async def test_a_refused_request_for_a_call_leaves_nothing_behind(
    strict_server: Running,
    shared_twilio: TwilioEmulator,
    content: str,
    more: dict[str, str],
    status: int,
) -> None:
    known = {"Authorization": "Bearer right", "Content-Type": "application/json"}
    # Bytes, as names and values of headers may be any.
    headers = {name: value.encode("latin-1") for name, value in (known | more).items()}
    answer = await strict_server.http.post("/calls", content=content.encode(), headers=headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    listed = await strict_server.http.get("/calls", headers=known)
    assert (listed.json()["calls"], shared_twilio.requests) == ([], [])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phone_number": "5550100"},
        {"phone_number": "+0555010012"},
        {"phone_number": "+1٥٥٥٠١٠٠"},
        {"phone_number": "+1555010012345678"},
        {"phone_number": THEIRS + "\n"},
        {"phone_number": THEIRS, "colour": "red"},
        {"phone_number": THEIRS, "max_duration_seconds": 0},
        {"phone_number": THEIRS, "vad_config": {"start_sensitivity": "LOUD"}},
        {"phone_number": THEIRS, "vad_config": {"volume": 1}},
        {"phone_number": THEIRS, "greeting": "x" * 4_001},
        {"phone_number": THEIRS, "greeting": "a\x00b"},
        {"phone_number": THEIRS, "language": "English"},
        {"phone_number": THEIRS, "language": "en" + "-abcdefgh" * 4},
        {"phone_number": THEIRS, "metadata": {"long": "x" * 20_000}},
        {"phone_number": THEIRS, "metadata": {"nul": "\x00"}},
        {"phone_number": THEIRS, "metadata": [1]},
        {"phone_number": THEIRS, "metadata": nested(33)},
        {"phone_number": THEIRS, "metadata": nested(300)},
        {"phone_number": THEIRS, "pipeline": "no_such_pipeline"},
        {"phone_number": THEIRS, "greeting": "$a" * 2_000, "metadata": {"a": "x" * 16_000}},
        {"phone_number": THEIRS, "system_prompt": "${a}" * 8_000, "metadata": {"a": ["x" * 99]}},
    ],
)
async def test_a_wrong_body_is_refused_and_nothing_rings(
    shared_server: Running, shared_twilio: TwilioEmulator, body: dict[str, Any]
) -> None:
    answer = await shared_server.http.post("/calls", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert shared_twilio.requests == []
    assert (await shared_server.http.get("/calls")).json()["calls"] == []


@pytest.mark.parametrize(
    ("greeting", "metadata", "says"),
    [
        ("Hello $name.", {"name": None}, "'name' is null"),
        ("Hello ${name}.", {"name": {"first": "Lee"}}, "'name' is an object"),
        ("Hello $name.", {"name": ["Lee"]}, "'name' is a list"),
        ("Hello $name.", {"name": True}, "'name' is true or false"),
        ("Hello $first name.", {"first name": "Lee"}, "${first name}"),
        ("Hello $kunde.name.", {"kunde.name": "Lee"}, "${kunde.name}"),
        ("Hello $Name.", {"name": "Lee"}, "there is no 'Name', but 'name'"),
        ("Hello ${a{b}.", {"a{b": "Lee"}, "'a{b' cannot be a placeholder"),
    ],
)
async def test_a_placeholder_that_cannot_be_filled_is_refused_with_its_name(
    shared_server: Running,
    shared_twilio: TwilioEmulator,
    greeting: str,
    metadata: dict[str, Any],
    says: str,
) -> None:
    for field in ("greeting", "system_prompt"):
        body = {"phone_number": THEIRS, field: greeting, "metadata": metadata}
        answer = await shared_server.http.post("/calls", json=body)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
    assert shared_twilio.requests == []


async def test_a_language_that_is_none_is_answered_with_one_that_is(shared_server: Running) -> None:
    answer = await shared_server.http.post(
        "/calls", json={"phone_number": THEIRS, "language": "English"}
    )
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "language"]
    assert problem["msg"] == "must be a language tag, such as en-US"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 50_000,
        b"\xff\xfe",
        b'{"phone_number": "+15550100123", "metadata": {"x": NaN}}',
        b'{"phone_number": "+15550100123", "metadata": {"x": "\\ud800"}}',
        b'{"phone_number": "+15550100123", "greeting": "\\ud800"}',
        b'{"phone_number": "+15550100123", "\\ud800": 1}',
    ],
)
async def test_a_body_that_is_no_good_json_is_the_clients_mistake(
    shared_server: Running, content: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await shared_server.http.post("/calls", content=content, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


async def test_a_body_over_64_kb_is_too_large(shared_server: Running) -> None:
    answer = await shared_server.http.post("/calls", content=b" " * 70_000)
    assert answer.status_code == 413
    assert "64 kB" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/calls"),
        ("POST", "/calls"),
        ("GET", f"/calls/{'0' * 32}"),
        ("GET", f"/calls/{'0' * 32}/transcript"),
        ("GET", f"/calls/{'0' * 32}/events"),
        ("GET", f"/calls/{'0' * 32}/result"),
        ("POST", f"/calls/{'0' * 32}/terminate"),
        ("DELETE", f"/calls/{'0' * 32}"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic right", "Bearer"])
async def test_every_endpoint_of_the_api_needs_a_key(
    keyed_server: Running, method: str, path: str, header: str | None
) -> None:
    headers = {"Authorization": header} if header else {}
    answer = await keyed_server.http.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "API key" in answer.json()["detail"]


async def test_each_key_lets_in(keyed_server: Running) -> None:
    for key in ("right", "other"):
        headers = {"Authorization": f"Bearer {key}"}
        assert (await keyed_server.http.get("/calls", headers=headers)).status_code == 200


async def test_without_keys_nobody_comes_in_through_a_tunnel(shared_server: Running) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        answer = await shared_server.http.get("/calls", headers={header: "203.0.113.7"})
        assert answer.status_code == 401
    assert (await shared_server.http.get("/calls")).status_code == 200


async def test_without_keys_nobody_comes_in_by_a_name_that_a_web_page_may_have(
    shared_server: Running,
) -> None:
    answer = await shared_server.http.get("/calls", headers={"Host": "rebound.example.com:8000"})
    assert answer.status_code == 401
    assert "API_KEYS" in answer.json()["detail"]


async def test_no_key_is_sent_on_by_a_redirect(keyed_server: Running) -> None:
    answer = await keyed_server.http.get("/calls/", headers={"Authorization": "Bearer right"})
    assert answer.status_code == 404
    assert "Location" not in answer.headers


@pytest.mark.parametrize("call_id", ["0" * 32, "nope", "%00", "0" * 31 + "G", "a" * 2_000])
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("GET", "/transcript"),
        ("GET", "/events"),
        ("GET", "/result"),
        ("POST", "/terminate"),
        ("DELETE", ""),
    ],
)
async def test_an_unknown_call_is_not_found(
    shared_server: Running, method: str, rest: str, call_id: str
) -> None:
    answer = await shared_server.http.request(method, f"/calls/{call_id}{rest}")
    assert answer.status_code == 404
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["status=gone", "cursor=x", "cursor=%00", "limit=0", "limit=1000", "since=yesterday"]
)
async def test_a_filter_that_makes_no_sense_is_refused(shared_server: Running, query: str) -> None:
    answer = await shared_server.http.get(f"/calls?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_every_other_path_and_method_is_an_error_with_a_detail(
    shared_server: Running,
) -> None:
    answers: list[httpx.Response] = [
        await shared_server.http.get("/nothing"),
        await shared_server.http.put("/calls"),
    ]
    assert [answer.status_code for answer in answers] == [404, 405]
    assert all(answer.json()["detail"] for answer in answers)
