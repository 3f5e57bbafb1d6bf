"""Who is let in to the calls API: by a bearer key, or by being near where there are no keys."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from server.resources import Opened, Resources
from server.security import may_be_from_anywhere

NO_KEY = "A valid API key is needed: Authorization: Bearer KEY."
FROM_ANYWHERE = (
    "API_KEYS is not set, so that nobody is let in by a tunnel, a proxy or a public name."
)

bearer = HTTPBearer(auto_error=False, description="One of API_KEYS.")


def why_not(
    request: Request, opened: Resources, credentials: HTTPAuthorizationCredentials | None
) -> str | None:
    """Why a request is not let in, in a sentence; None when it is.

    Who has a key is let in; without keys (development only), who is on this machine or near it.
    """
    if opened.api_keys.configured:
        known = credentials is not None and opened.api_keys.admit(credentials.credentials)
        return None if known else NO_KEY
    return FROM_ANYWHERE if may_be_from_anywhere(request.headers) else None


async def admitted(
    request: Request,
    opened: Opened,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """Let a request in. Raises: HTTPException, 401 for one that is not."""
    detail = why_not(request, opened, credentials)
    if detail is not None:
        opened.metrics.rejected.labels("api_key").inc()
        raise HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
