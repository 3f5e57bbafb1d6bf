"""StreamTokens: one-time tokens that admit exactly one media stream, on any instance.

    mint (TwiML)  ──▶ Twilio carries it as <Parameter name="token"> ──▶ check (stream's `start`)

A token holds the call's id, Twilio's CallSid, its expiry and a random id, and is sealed with
HMAC-SHA256. The record may not have the CallSid yet: Twilio has told it with the webhook that the
token answers.
`LiveCalls.use_token` makes sure that it is used only once.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass


class TokenRefused(Exception):
    """The token is not valid; the message says why, without quoting the token."""


@dataclass(frozen=True, slots=True)
class StreamToken:
    """Contents of a valid token. `expires_at` is in seconds since the epoch."""

    call_id: str
    call_sid: str
    expires_at: int
    token_id: str


class StreamTokens:
    """Mints and checks tokens with the secret that all instances share."""

    def __init__(self, secret: str, *, good_for_secs: int = 300) -> None:
        self._secret = secret.encode()
        self._good_for_secs = good_for_secs

    @property
    def good_for_secs(self) -> int:
        """How long a token may wait for its stream."""
        return self._good_for_secs

    def mint(self, call_id: str, call_sid: str, *, now: float) -> str:
        """A token for one stream of this call; `now` in seconds since the epoch."""
        body = f"{call_id}.{call_sid}.{int(now) + self._good_for_secs}.{secrets.token_hex(12)}"
        return f"{body}.{self._seal(body)}"

    def check(self, text: str, call_id: str, *, now: float) -> StreamToken:
        """Verify a token and return its contents.

        Raises: TokenRefused when it is forged, for another call, or too old.
        """
        body, _, seal = text.rpartition(".")
        if not hmac.compare_digest(self._seal(body).encode(), seal.encode(errors="replace")):
            raise TokenRefused("the token's seal is wrong")
        try:
            token_call, call_sid, expires, token_id = body.split(".")
            token = StreamToken(token_call, call_sid, int(expires), token_id)
        except ValueError:
            raise TokenRefused("the token is malformed") from None
        if not hmac.compare_digest(token.call_id.encode(), call_id.encode()):
            raise TokenRefused("the token is for another call")
        if token.expires_at < now:
            raise TokenRefused("the token is too old")
        return token

    def _seal(self, body: str) -> str:
        digest = hmac.digest(self._secret, body.encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
