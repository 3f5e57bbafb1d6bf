"""Signatures, keys and body limits."""

import asyncio
import hmac
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from twilio.request_validator import RequestValidator

from server import security
from server.patient_http import WHOLE_BODY
from server.security import (
    BODY_LIMIT_BYTES,
    ApiKeys,
    BodyLimit,
    TwilioSignatures,
    may_be_from_anywhere,
)
from server.settings import Settings

FORM = {"CallSid": "CA1", "CallStatus": "ringing"}


def signatures(base_url: str = "https://v.example.com") -> TwilioSignatures:
    stream = "ws" + base_url.removeprefix("http")
    return TwilioSignatures("token", base_url=base_url, stream_base_url=stream)


def signed(url: str, form: dict[str, str] | None = None) -> str:
    return str(RequestValidator("token").compute_signature(url, form or {}))


@pytest.mark.parametrize(
    "url",
    [
        "https://v.example.com/twilio/status/1?rc=5",
        "https://v.example.com:443/twilio/status/1?rc=5",
    ],
)
def test_a_webhook_is_checked_over_the_public_address_with_and_without_port(url: str) -> None:
    assert signatures().signed_webhook("/twilio/status/1", "rc=5", FORM.items(), signed(url, FORM))


@pytest.mark.parametrize(
    "url",
    [
        "http://v.example.com/twilio/status/1",
        "https://w.example.com/twilio/status/1",
        "https://v.example.com/twilio/status/2",
        "https://v.example.com/twilio/status/1?x=y",
    ],
)
def test_a_signature_of_another_address_is_none(url: str) -> None:
    assert not signatures().signed_webhook("/twilio/status/1", "", FORM.items(), signed(url, FORM))


def test_a_changed_form_breaks_the_signature() -> None:
    signature = signed("https://v.example.com/twilio/status/1", FORM)
    other = FORM | {"CallStatus": "completed"}
    assert not signatures().signed_webhook("/twilio/status/1", "", other.items(), signature)


def test_only_the_exact_stream_address_counts_on_the_upgrade() -> None:
    ours = "wss://v.example.com/twilio/media/1"
    assert signatures().signed_upgrade("/twilio/media/1", signed(ours))
    for other in (ours + "/", ours.replace("wss", "https"), ours.replace(".com", ".com:443")):
        assert not signatures().signed_upgrade("/twilio/media/1", signed(other))


@pytest.mark.parametrize("signature", [None, "", "\ud800", "é", "x" * 10_000])
def test_no_signature_and_nonsense_are_refused(signature: str | None) -> None:
    assert not signatures().signed_webhook("/", "", FORM.items(), signature)


def test_without_a_token_everything_is_refused() -> None:
    nothing = TwilioSignatures(None, base_url="http://a", stream_base_url="ws://a")
    empty = RequestValidator("").compute_signature("http://a/", FORM)
    assert not nothing.signed_webhook("/", "", FORM.items(), empty)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Every pair that was compared in constant time."""
    pairs: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        pairs.append((one, other))
        return real(one, other)

    monkeypatch.setattr(security.hmac, "compare_digest", compare)
    return pairs


def test_signatures_are_compared_in_constant_time(compared: list[tuple[Any, Any]]) -> None:
    signatures().signed_webhook("/", "", FORM.items(), "guess")
    assert [other for _, other in compared] == [b"guess", b"guess"]


def test_every_key_is_compared_whichever_fits(compared: list[tuple[Any, Any]]) -> None:
    keys = ApiKeys(Settings.model_validate({"api_keys": "one,two,three"}))
    assert keys.configured
    assert keys.admit("one")
    assert len(compared) == 3
    assert {len(digest) for pair in compared for digest in pair} == {32}
    assert not keys.admit("four")
    assert not keys.admit("")


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body())})


async def test_a_body_that_is_here_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever waited would look for how long.
    monkeypatch.delattr(security, "BODY_PATIENCE_SECS")
    app = BodyLimit(Starlette(routes=[Route("/", _echo, methods=["POST"])]))

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope | {"extensions": {WHOLE_BODY: {}}}, receive, send)

    transport = httpx.ASGITransport(told)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/", content=b"x" * 9)).json() == {"size": 9}
        large = await client.post("/", content=b"x" * (BODY_LIMIT_BYTES + 1))
        assert large.status_code == 413


async def test_a_client_that_left_is_not_answered() -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("there is nobody")

    async def left() -> Message:
        return {"type": "http.disconnect"}

    for extensions in ({}, {WHOLE_BODY: {}}):
        await BodyLimit(never)({"type": "http", "extensions": extensions}, left, never)


@pytest.fixture
async def limited() -> Any:
    app = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])])
    transport = httpx.ASGITransport(BodyLimit(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("size", "status"),
    [(0, 200), (BODY_LIMIT_BYTES, 200), (BODY_LIMIT_BYTES + 1, 413), (10_000_000, 413)],
)
async def test_a_body_is_whole_or_refused(
    limited: httpx.AsyncClient, size: int, status: int
) -> None:
    answer = await limited.post("/", content=b"x" * size)
    assert answer.status_code == status
    assert answer.json() == (
        {"size": size} if status == 200 else {"detail": "The body is larger than 64 kB."}
    )


async def test_a_body_in_pieces_is_limited_too(limited: httpx.AsyncClient) -> None:
    taken = 0

    async def pieces() -> Any:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 1000

    answer = await limited.post("/", content=pieces())
    assert answer.status_code == 413
    assert taken < 1000


async def test_a_body_that_never_ends_is_given_up(
    limited: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck() -> Any:
        yield b"x"
        await asyncio.Event().wait()

    monkeypatch.setattr(security, "BODY_PATIENCE_SECS", 0.05)
    assert (await limited.post("/", content=stuck())).status_code == 408


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
    assert not may_be_from_anywhere(headers)


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
    assert may_be_from_anywhere(headers)
