"""ASGI middleware that limits request bodies in size and time.

Forms of Twilio's webhooks have a stricter limit: `server/routes/signed_form.py`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT_BYTES = 65_536
BODY_TIMEOUT_SECS = 10.0


@dataclass(frozen=True)
class Refusal:
    """A request that is refused for its head: the answer, and the constant that counts it."""

    status: int
    detail: str
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


class BodyLimit:
    """Reads each request's body before the app sees the request.

    A body over 64 kB is answered with 413, before it is read when its head declares its size; one
    that takes more than 10 s with 408. `check_head` may refuse a request before its body is read.
    `refused` is called for each of them, with the request's scope and a constant that says why.
    """

    def __init__(
        self,
        app: ASGIApp,
        refused: Callable[[Scope, str], None],
        check_head: Callable[[Scope, Headers], Refusal | None] = lambda _scope, _headers: None,
    ) -> None:
        self._app = app
        self._refused = refused
        self._check_head = check_head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(raw=scope.get("headers", []))
        refusal = self._check_head(scope, headers)
        if refusal is not None:
            self._refused(scope, refusal.reason)
            # The rest of a small body is passed over: closing before it came resets the connection.
            small = "content-length" in headers and declared_bytes(headers) <= BODY_LIMIT_BYTES
            answer = JSONResponse(
                {"detail": refusal.detail},
                refusal.status,
                headers={**refusal.headers, **({} if small else {"Connection": "close"})},
            )
            await answer(scope, receive, send)
            return
        try:
            if declared_bytes(headers) > BODY_LIMIT_BYTES:
                raise _TooLarge
            async with asyncio.timeout(BODY_TIMEOUT_SECS):
                body = await _read_body(receive)
        except _TooLarge:
            self._refused(scope, "body_too_large")
            await _refuse(413, "The body is larger than 64 kB.", scope, receive, send)
        except TimeoutError:
            self._refused(scope, "body_too_slow")
            await _refuse(408, "The body did not arrive in time.", scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, _replay(body, receive), send)


def declared_bytes(headers: Headers) -> int:
    """The size that a request's head declares of its body; 0 when it declares none."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


class _TooLarge(Exception):
    pass


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a request; None when the client has disconnected. Raises: _TooLarge."""
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


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first returns this body, as one message."""
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
