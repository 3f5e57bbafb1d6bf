import pytest
from twilio.request_validator import RequestValidator

from server.emulators.twilio.signature import sign

TOKEN = "12345"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"CallSid": "CA1", "From": "+15550100", "To": "+15550001"},
        {"b": "2", "a": "1", "A": "ü & =", "empty": ""},
    ],
)
@pytest.mark.parametrize(
    "url", ["https://example.com/twilio?a=1&b=2", "http://127.0.0.1:8000/x", "wss://a.b/stream"]
)
def test_twilios_own_validator_accepts_it(url: str, form: dict[str, str]) -> None:
    signature = sign(TOKEN, url, form.items())
    assert RequestValidator(TOKEN).validate(url, form, signature)
    assert not RequestValidator("other").validate(url, form, signature)


def test_a_fragment_is_not_signed() -> None:
    assert sign(TOKEN, "https://a.b/c#rc=2&rp=all") == sign(TOKEN, "https://a.b/c")
