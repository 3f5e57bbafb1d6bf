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
from pydantic import SecretStr

from server.resources import Opened, Resources
from server.routes.local_requests import (
    FROM_OTHER_SITE,
    may_come_from_other_site,
    why_not_local,
)

NO_KEY = "A valid API key is needed: Authorization: Bearer KEY."
TOO_MANY = "Too many requests without a valid API key; try again later."

bearer = HTTPBearer(auto_error=False, description="One of API_KEYS.")


async def authenticate(
    request: Request,
    opened: Opened,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """Check the client's key; without keys (development only), that it is on this network.

    Raises: HTTPException 401; 403 for a page of another site; 429 for too many wrong keys.
    """
    keys = opened.settings.api_keys
    peer = request.client.host if request.client else None
    if keys:
        if credentials is None or not is_api_key(credentials.credentials, keys):
            raise _wrong_key(peer, opened)
    elif why := why_not_local(peer, request.headers):
        raise _refused(401, why, "api_key", opened)
    elif may_come_from_other_site(request.headers):
        raise _refused(403, FROM_OTHER_SITE, "other_site", opened)


async def authenticate_reader(request: Request, opened: Opened) -> None:
    """Check the key of who only reads: as a bearer, or as the password of basic authentication.

    Raises: as `authenticate` does.
    """
    if _may_see_details(request, opened):
        return
    peer = request.client.host if request.client else None
    if opened.settings.api_keys:
        refused = _wrong_key(peer, opened)
        if refused.status_code == 401:
            refused.headers = {"WWW-Authenticate": 'Basic realm="the password is an API key"'}
        raise refused
    await authenticate(request, opened, None)


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


def _wrong_key(peer: str | None, opened: Resources) -> HTTPException:
    wait_secs = opened.wrong_keys.take(peer or "")
    if not wait_secs:
        return _refused(401, NO_KEY, "api_key", opened)
    refused = _refused(429, TOO_MANY, "api_key_rate", opened)
    refused.headers = {"Retry-After": str(wait_secs)}
    return refused


def _refused(status: int, detail: str, reason: str, opened: Resources) -> HTTPException:
    opened.metrics.rejected.labels(reason).inc()
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return HTTPException(status, detail, headers=headers)


def is_api_key(claimed: str, keys: Iterable[SecretStr]) -> bool:
    """Whether this is one of the keys; compares with each, in constant time."""
    digest = _digest(claimed)
    matches = [hmac.compare_digest(_digest(key.get_secret_value()), digest) for key in keys]
    return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
