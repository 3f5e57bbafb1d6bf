"""What instances prove to each other with, and what proves nothing."""

import pytest

from server.relay.relay_signatures import GOOD_FOR_SECS, RelayRefused, RelaySignatures
from server.twilio.stream_tokens import StreamTokens

NOW = 1_700_000_000.0


def of(instance: str, secret: str = "secret", now: float = NOW) -> RelaySignatures:
    return RelaySignatures(secret, instance, lambda: now)


def test_only_the_instance_that_is_asked_takes_a_signature_and_once() -> None:
    signed = of("one").sign("two", "media", "c1", "MZ1")
    with pytest.raises(RelayRefused, match="seal"):
        of("three").check(signed, "media", "c1", "MZ1")
    two = of("two")
    two.check(signed, "media", "c1", "MZ1")
    with pytest.raises(RelayRefused, match="before"):
        two.check(signed, "media", "c1", "MZ1")


@pytest.mark.parametrize(
    "asked",
    [("media", "c2", "MZ1"), ("media", "c1", "MZ2"), ("hint", "c1", "MZ1"), ("media", "c1")],
)
def test_it_is_good_for_what_was_asked_only(asked: tuple[str, ...]) -> None:
    signed = of("one").sign("two", "media", "c1", "MZ1")
    with pytest.raises(RelayRefused, match="seal"):
        of("two").check(signed, *asked)


@pytest.mark.parametrize("secs", [-GOOD_FOR_SECS - 1, GOOD_FOR_SECS + 1])
def test_it_is_good_for_some_seconds_only(secs: float) -> None:
    signed = of("one").sign("two", "media")
    with pytest.raises(RelayRefused, match="too old"):
        of("two", now=NOW + secs).check(signed, "media")


def test_its_key_is_no_other_key_of_the_same_secret() -> None:
    token = StreamTokens("secret").mint("c1", "CA1", now=NOW)
    for forged in (token, of("one", "guess").sign("two", "media"), "", ".", "é.é.é"):
        with pytest.raises(RelayRefused, match="seal"):
            of("two").check(forged, "media")


def test_used_ones_are_forgotten_when_they_are_too_old_anyhow() -> None:
    times = [NOW]
    one, two = (RelaySignatures("secret", name, lambda: times[-1]) for name in ("one", "two"))
    for _ in range(50):
        two.check(one.sign("two", "media"), "media")
        times.append(times[-1] + GOOD_FOR_SECS)
    assert len(two._used) < 5
