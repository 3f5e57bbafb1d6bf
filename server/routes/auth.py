"""Authenticates API clients: a bearer key, or a local address when no keys are configured.

What is only read (metrics, the API's description, details of health) also takes the key as the
password of HTTP basic authentication, which browsers and Prometheus can send.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import Scope

from server.http.body_limit import Refusal
from server.resources import Opened, Resources
from server.routes.local_requests import (
    FROM_OTHER_SITE,
    may_come_from_other_site,
    why_not_local,
)

NO_KEY = "A valid API key is needed: Authorization: Bearer KEY."
TOO_MANY = "Too many requests without a valid API key; try again later."

# Methods of the calls API that have a body.
_WITH_BODY = ("POST", "PATCH")

bearer = HTTPBearer(auto_error=False, description="One of API_KEYS.")


def refuse_stranger(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuse a request to the calls API as `authenticate` does, before its body is read."""
    path = scope["path"]
    if scope["method"] not in _WITH_BODY or not (path == "/calls" or path.startswith("/calls/")):
        return None
    peer = scope["client"][0] if scope.get("client") else None
    return _why_refused(peer, headers, scope["state"]["resources"])


async def authenticate(
    request: Request,
    opened: Opened,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """Check the client's key; without keys (development only), that it is on this network.

    Raises: HTTPException 401; 403 for a page of another site; 429 for too many wrong keys.
    """
    peer = request.client.host if request.client else None
    refusal = _why_refused(peer, request.headers, opened)
    if refusal is not None:
        raise _counted(refusal, opened)


async def authenticate_reader(request: Request, opened: Opened) -> None:
    """Check the key of who only reads: as a bearer, or as the password of basic authentication.

    Raises: as `authenticate` does.
    """
    if _may_see_details(request, opened):
        return
    if not opened.settings.api_keys:
        await authenticate(request, opened, None)
        return
    refused = _counted(_wrong_key(request.client.host if request.client else None, opened), opened)
    if refused.status_code == 401:
        refused.headers = {"WWW-Authenticate": 'Basic realm="the password is an API key"'}
    raise refused


async def _details(request: Request, opened: Opened) -> bool:
    return _may_see_details(request, opened)


# Whether the client may see more than that the server is up; nobody is refused.
MaySeeDetails = Annotated[bool, Depends(_details)]


def _may_see_details(request: Request, opened: Resources) -> bool:
    keys = opened.settings.api_keys
    if keys:
        claimed = _claimed_key(request.headers.get("authorization", ""))
        return claimed is not None and is_api_key(claimed, keys)
    peer = request.client.host if request.client else None
    is_local = why_not_local(peer, request.headers) is None
    return is_local and not may_come_from_other_site(request.headers)


def _claimed_key(authorization: str) -> str | None:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _why_refused(peer: str | None, headers: Headers, opened: Resources) -> Refusal | None:
    keys = opened.settings.api_keys
    if keys:
        scheme, key = get_authorization_scheme_param(headers.get("authorization"))
        is_known = scheme.lower() == "bearer" and is_api_key(key, keys)
        return None if is_known else _wrong_key(peer, opened)
    if why := why_not_local(peer, headers):
        return _unauthorized(why)
    if may_come_from_other_site(headers):
        return Refusal(403, FROM_OTHER_SITE, "other_site")
    return None


def _wrong_key(peer: str | None, opened: Resources) -> Refusal:
    wait_secs = opened.wrong_keys.take(peer or "")
    if not wait_secs:
        return _unauthorized(NO_KEY)
    return Refusal(429, TOO_MANY, "api_key_rate", {"Retry-After": str(wait_secs)})


def _unauthorized(detail: str) -> Refusal:
    return Refusal(401, detail, "api_key", {"WWW-Authenticate": "Bearer"})


def _counted(refusal: Refusal, opened: Resources) -> HTTPException:
    opened.metrics.rejected.labels(refusal.reason).inc()
    return HTTPException(refusal.status, refusal.detail, headers=dict(refusal.headers) or None)


def is_api_key(claimed: str, keys: Iterable[SecretStr]) -> bool:
    """Whether this is one of the keys; compares with each, in constant time."""
    digest = _digest(claimed)
    matches = [hmac.compare_digest(_digest(key.get_secret_value()), digest) for key in keys]
    return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
