"""Twilio's requests to the application: signed, with Twilio's time-outs and retry overrides.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
and https://www.twilio.com/docs/usage/webhooks/getting-started-twilio-webhooks
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit

import httpx

from server.emulators.twilio.signature import HEADER, sign

ANSWER_WITHIN_SECS = 15.0
CONNECT_WITHIN_SECS = 5.0
MOST_RETRIES = 5


class Unreachable(Exception):
    """No answer came."""


class TimedOut(Unreachable):
    """No answer came in time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the application answered."""

    status: int
    content_type: str
    text: str

    @property
    def is_ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Overrides:
    """`#rc=…&rp=…` in a URL: how often to try again, and after which failures."""

    retries: int
    policy: frozenset[str]

    @classmethod
    def of(cls, url: str) -> "Overrides":
        """Those of a URL; the default is one more try after a failed connect."""
        given = dict(parse_qsl(urlsplit(url).fragment))
        retries = given.get("rc", "1")
        policy = frozenset(given.get("rp", "ct").split(","))
        return cls(min(int(retries), MOST_RETRIES) if retries.isdigit() else 1, policy)

    def again_after(self, outcome: Reply | Unreachable) -> bool:
        """Whether this failure is one to try again after."""
        if isinstance(outcome, TimedOut):
            kind = "rt"
        elif isinstance(outcome, Unreachable):
            kind = "ct"
        elif outcome.status >= 400:
            kind = f"{outcome.status // 100}xx"
        else:
            return False
        return bool(self.policy & {kind, "all"})


class Webhooks:
    """Sends signed requests with the account's token."""

    def __init__(self, auth_token: str, http: httpx.AsyncClient) -> None:
        self._auth_token = auth_token
        self._http = http

    async def send(self, url: str, method: str, form: Mapping[str, str]) -> Reply:
        """Send the form, in the body of a POST or in the query of a GET.

        Raises: Unreachable (TimedOut) when there is no answer, after the URL's retries.
        """
        overrides = Overrides.of(url)
        outcome: Reply | Unreachable = Unreachable("not tried")
        for _ in range(1 + overrides.retries):
            outcome = await self._once(urldefrag(url).url, method, form)
            if not overrides.again_after(outcome):
                break
        if isinstance(outcome, Unreachable):
            raise outcome
        return outcome

    async def _once(self, url: str, method: str, form: Mapping[str, str]) -> Reply | Unreachable:
        if method == "GET":
            url += ("&" if urlsplit(url).query else "?") + urlencode(form)
            signature = sign(self._auth_token, url)
        else:
            signature = sign(self._auth_token, url, form.items())
        try:
            answer = await self._http.request(
                method,
                url,
                data=None if method == "GET" else dict(form),
                headers={HEADER: signature, "User-Agent": "TwilioProxy/1.1"},
            )
        except httpx.ConnectTimeout as problem:
            return Unreachable(str(problem) or "connect timed out")
        except httpx.TimeoutException:
            return TimedOut("no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return Unreachable(str(problem) or type(problem).__name__)
        content_type = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        return Reply(answer.status_code, content_type, answer.text)
