"""Warns about requests without a valid signature of Twilio's: one line a minute and route."""

from collections.abc import Mapping

from loguru import logger

from agent.clock import Clock

PER_SECS = 60.0
# Of a header that anybody may send.
LONGEST_QUOTE = 200
HEADER = "x-twilio-signature"
NO_TOKEN = "TWILIO_AUTH_TOKEN is not set"  # noqa: S105 (no token)
NO_HEADER = "the request is not Twilio's, or a proxy drops the header"
WRONG = (
    "BASE_URL is not the address that Twilio was given (scheme, host, port, path), or "
    "TWILIO_AUTH_TOKEN is not the one of this account"
)


class SignatureWarnings:
    """Logs what was checked, so that a wrong BASE_URL or token is found; bounded by routes."""

    def __init__(self, *, clock: Clock, has_token: bool) -> None:
        self._clock = clock
        self._has_token = has_token
        self._warned_at: dict[str, float] = {}

    def warn(self, route: str, checked: str, headers: Mapping[str, str]) -> None:
        """Log a refused request to `route` (its pattern), unless one was in the last minute.

        `checked` is the address whose signature was expected.
        """
        now = self._clock()
        if now - self._warned_at.get(route, -PER_SECS) < PER_SECS:
            return
        self._warned_at[route] = now
        signature = "present" if headers.get(HEADER) else "missing"
        cause = WRONG if signature == "present" else NO_HEADER
        logger.warning(
            "A request without a valid X-Twilio-Signature was refused",
            route=route,
            checked=checked[:LONGEST_QUOTE],
            signature=signature,
            host=headers.get("host", "")[:LONGEST_QUOTE],
            forwarded_host=headers.get("x-forwarded-host", "")[:LONGEST_QUOTE],
            forwarded_proto=headers.get("x-forwarded-proto", "")[:LONGEST_QUOTE],
            usual_cause=cause if self._has_token else NO_TOKEN,
        )
