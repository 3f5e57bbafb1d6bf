"""Who may talk to us: Twilio by its signature, API clients by a bearer key, nobody at length.

Every comparison with a secret takes the same time whatever is wrong with what came.
Source: https://www.twilio.com/docs/usage/security#validating-requests
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from twilio.request_validator import RequestValidator

from server.patient_http import WHOLE_BODY
from server.settings import Settings

BODY_LIMIT_BYTES = 65_536
BODY_PATIENCE_SECS = 10.0
_OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
# Names that public DNS does not hold (RFC 6761, RFC 6762, and ICANN's reserved `internal`).
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


class TwilioSignatures:
    """Checks X-Twilio-Signature over the address that Twilio knows us by, not what a proxy shows.

    Without an auth token nothing can be checked, and everything is refused.
    """

    def __init__(self, auth_token: str | None, *, base_url: str, stream_base_url: str) -> None:
        self._validator = RequestValidator(auth_token) if auth_token else None
        self._base_url = base_url
        self._stream_base_url = stream_base_url

    def signed_webhook(
        self, path: str, query: str, form: Iterable[tuple[str, Any]], signature: str | None
    ) -> bool:
        """Whether Twilio signed this form for this path (and query) of ours.

        Twilio is not consistent about the port, so its address counts with and without it.
        """
        url = self._base_url + path + (f"?{query}" if query else "")
        return self._signed((url, *_other_port_form(url)), _sorted(form), signature)

    def signed_upgrade(self, path: str, signature: str | None) -> bool:
        """Whether Twilio signed the upgrade to a WebSocket; only the exact wss:// form counts."""
        return self._signed((self._stream_base_url + path,), "", signature)

    def _signed(self, urls: Sequence[str], fields: str, signature: str | None) -> bool:
        if self._validator is None or not signature:
            return False
        claimed = signature.encode(errors="replace")
        compute = self._validator.compute_signature
        # All are compared when none matches; which one does is no secret.
        return any(hmac.compare_digest(compute(url + fields, {}).encode(), claimed) for url in urls)


def _sorted(form: Iterable[tuple[str, Any]]) -> str:
    """The fields as they are signed behind the address: each name with its values, in order.

    As the SDK joins them, which does so anew for each address.
    """
    return "".join([f"{name}{value}" for name, value in sorted(set(form))])


def _other_port_form(url: str) -> tuple[str, ...]:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    port = {"https": ":443", "http": ":80"}[scheme]
    name, colon, digits = host.rpartition(":")
    if colon and digits.isdigit():
        return (f"{scheme}://{name}{slash}{path}",)
    return (f"{scheme}://{host}{port}{slash}{path}",)


class ApiKeys:
    """The bearer keys of the calls API."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in settings.api_keys]

    @property
    def configured(self) -> bool:
        """Whether any key is set."""
        return bool(self._digests)

    def admit(self, key: str) -> bool:
        """Whether this is one of the keys; each is compared, and in constant time."""
        claimed = _digest(key)
        matches = [hmac.compare_digest(digest, claimed) for digest in self._digests]
        return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def may_be_from_anywhere(headers: Mapping[str, str]) -> bool:
    """Whether a request need not come from this machine or its network.

    A tunnel or a proxy brought it, or it asks for us by a public name: a web page that somebody
    here looks at can have its own name point to this machine (DNS rebinding).
    """
    return any(name in headers for name in _OF_PROXIES) or not _is_local(headers.get("host", ""))


def _is_local(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if "." not in name and ":" not in name:
        return bool(name)  # such a name is in nobody's public DNS
    try:
        ip_address(name)
    except ValueError:
        return name.endswith(_LOCAL_SUFFIXES)
    return True


class BodyLimit:
    """ASGI middleware: a body arrives whole, within 64 kB and 10 s, or not at all.

    `refused` is told of each that did not, with a constant that says why.
    """

    def __init__(
        self, app: ASGIApp, refused: Callable[[Scope, str], None] = lambda _scope, _why: None
    ) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on once its body is here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if WHOLE_BODY in scope.get("extensions", ()):
                # There is nothing to wait for, and a timer is made in vain.
                body = await _whole(receive)
            else:
                async with asyncio.timeout(BODY_PATIENCE_SECS):
                    body = await _whole(receive)
        except _TooLarge:
            self._refused(scope, "body_too_large")
            await _refuse(413, "The body is larger than 64 kB.", scope, receive, send)
        except TimeoutError:
            self._refused(scope, "body_too_slow")
            await _refuse(408, "The body did not arrive in time.", scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, replay(body, receive), send)


class _TooLarge(Exception):
    pass


async def _whole(receive: Receive) -> bytes | None:
    """A request's body; None when the client has left."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT_BYTES:
            raise _TooLarge
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """A request's `receive` that gives this body first, whole."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    response = JSONResponse({"detail": detail}, status, headers={"Connection": "close"})
    await response(scope, receive, send)
