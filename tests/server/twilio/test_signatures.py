"""Twilio's signatures: over which address and form they count, and how they are compared."""

import hmac
from typing import Any

import pytest
from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator

from server.twilio import signatures as module
from server.twilio.signatures import TwilioSignatures

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
    assert signatures().signed_webhook("/twilio/status/1", "rc=5", FORM, signed(url, FORM))


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
    assert not signatures().signed_webhook("/twilio/status/1", "", FORM, signed(url, FORM))


def test_a_changed_form_breaks_the_signature() -> None:
    signature = signed("https://v.example.com/twilio/status/1", FORM)
    other = FORM | {"CallStatus": "completed"}
    assert not signatures().signed_webhook("/twilio/status/1", "", other, signature)


def test_only_the_exact_stream_address_counts_on_the_upgrade() -> None:
    ours = "wss://v.example.com/twilio/media/1"
    assert signatures().signed_upgrade("/twilio/media/1", signed(ours))
    for other in (ours + "/", ours.replace("wss", "https"), ours.replace(".com", ".com:443")):
        assert not signatures().signed_upgrade("/twilio/media/1", signed(other))


@pytest.mark.parametrize("signature", [None, "", "\ud800", "é", "x" * 10_000])
def test_no_signature_and_nonsense_are_refused(signature: str | None) -> None:
    assert not signatures().signed_webhook("/", "", FORM, signature)


def test_without_a_token_everything_is_refused() -> None:
    nothing = TwilioSignatures(None, base_url="http://a", stream_base_url="ws://a")
    empty = RequestValidator("").compute_signature("http://a/", FORM)
    assert not nothing.signed_webhook("/", "", FORM, empty)


def test_a_name_that_comes_more_than_once_counts_with_all_its_values() -> None:
    form = ImmutableMultiDict([("A", "1"), ("B", ""), ("A", "2")])
    signature = signed("https://v.example.com/hook", form)
    assert signature == signed("https://v.example.com/hookA1A2B")
    assert signatures().signed_webhook("/hook", "", form, signature)
    assert not signatures().signed_webhook("/hook", "", {"A": "2", "B": ""}, signature)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Every pair that was compared in constant time."""
    pairs: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        pairs.append((one, other))
        return real(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    return pairs


def test_signatures_are_compared_in_constant_time(compared: list[tuple[Any, Any]]) -> None:
    signatures().signed_webhook("/", "", FORM, "guess")
    assert [other for _, other in compared] == [b"guess", b"guess"]
