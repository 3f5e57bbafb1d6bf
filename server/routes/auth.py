"""Authenticates API clients: a bearer key, or a local address when no keys are configured."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from server.resources import Opened

NO_KEY = "A valid API key is needed: Authorization: Bearer KEY."
FROM_OUTSIDE = (
    "API_KEYS is not set, so that nobody is let in by a tunnel, a proxy or a public name."
)

_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
# Names that public DNS does not hold (RFC 6761, RFC 6762, and ICANN's reserved `internal`).
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")

bearer = HTTPBearer(auto_error=False, description="One of API_KEYS.")


async def authenticate(
    request: Request,
    opened: Opened,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """Check the client's key; without keys (development only), that it is on this network.

    Raises: HTTPException 401.
    """
    keys = opened.settings.api_keys
    if keys:
        known = credentials is not None and is_api_key(credentials.credentials, keys)
        detail = None if known else NO_KEY
    else:
        detail = FROM_OUTSIDE if may_come_from_outside(request.headers) else None
    if detail is not None:
        opened.metrics.rejected.labels("api_key").inc()
        raise HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


def is_api_key(claimed: str, keys: Iterable[SecretStr]) -> bool:
    """Whether this is one of the keys; compares with each, in constant time."""
    digest = _digest(claimed)
    matches = [hmac.compare_digest(_digest(key.get_secret_value()), digest) for key in keys]
    return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def may_come_from_outside(headers: Mapping[str, str]) -> bool:
    """Whether a request may come from outside this machine and its network.

    True when it came through a tunnel or a proxy, or when its Host is a public name: a web page
    can make its own name resolve to this machine (DNS rebinding).
    """
    return any(name in headers for name in _PROXY_HEADERS) or not _is_local(headers.get("host", ""))


def _is_local(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if "." not in name and ":" not in name:
        return bool(name)  # public DNS has no name without a dot
    try:
        ip_address(name)
    except ValueError:
        return name.endswith(_LOCAL_SUFFIXES)
    return True
