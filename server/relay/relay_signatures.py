"""RelaySignatures: what instances prove to each other with, before anything of a request is read.

A signature says when it was made, a random id, and an HMAC-SHA256 over both, the instance that is
asked, and what it is asked for. The key is derived from STREAM_TOKEN_SECRET, so that neither a
signature of Twilio's nor a stream token is one. Each is good once, for some seconds.
"""

import base64
import hmac
import json
import secrets

from agent.clock import Clock

# The clocks of instances may differ by as much.
GOOD_FOR_SECS = 15.0
# The header that carries a signature.
HEADER = "x-voice-ai-relay"
_CONTEXT = b"voice-ai relay between instances"


class RelayRefused(Exception):
    """The signature is not valid; the message says why, without quoting it."""


class RelaySignatures:
    """Signs what this instance asks of others, and checks what others ask of it."""

    def __init__(self, secret: str, instance: str, clock: Clock) -> None:
        self._key = hmac.digest(secret.encode(), _CONTEXT, "sha256")
        self._instance = instance
        self._clock = clock
        # The ids of those that were used, and when each is too old anyhow.
        self._used: dict[str, float] = {}

    def sign(self, owner: str, *asked: str) -> str:
        """A signature that only the instance `owner` takes, for what is asked of it."""
        made = f"{self._clock():.3f}.{secrets.token_hex(12)}"
        return f"{made}.{self._seal(made, owner, asked)}"

    def check(self, text: str, *asked: str) -> None:
        """Verify a signature for what is asked of this instance, and use it up.

        Raises: RelayRefused when it is forged, for something else, too old, or was used before.
        """
        made, _, seal = text.rpartition(".")
        expected = self._seal(made, self._instance, asked)
        if not hmac.compare_digest(expected.encode(), seal.encode(errors="replace")):
            raise RelayRefused("the seal is wrong")
        now = self._clock()
        at, _, one_id = made.rpartition(".")
        if abs(now - float(at)) > GOOD_FOR_SECS:
            raise RelayRefused("it is too old, or the clocks of both instances differ")
        self._used = {used: until for used, until in self._used.items() if until > now}
        if one_id in self._used:
            raise RelayRefused("it was used before")
        self._used[one_id] = now + 2 * GOOD_FOR_SECS

    def _seal(self, made: str, owner: str, asked: tuple[str, ...]) -> str:
        body = json.dumps([made, owner, *asked]).encode(errors="replace")
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, "sha256")).decode()
