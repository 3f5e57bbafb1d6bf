"""The short way: what a call waits for goes past FastAPI's layers, and all else through them.

    request   ─▶ answer(request, in_path) ─┬─ an answer
                                           └─ None ─▶ the app answers, as if it had come at once
    WebSocket ─▶ serve(websocket, in the path …)
    all else  ─▶ the app

FastAPI goes through ten layers for each request, and looks at each parameter of an endpoint. What
an endpoint of the short way declares is for `/docs`.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response, WebSocket
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from server.security import replay


@dataclass(frozen=True, slots=True)
class ShortRoute:
    """Requests that are answered at once; `answer` may leave one to the app by None."""

    path: re.Pattern[str]
    methods: Collection[str]
    answer: Callable[[Request, Mapping[str, str]], Awaitable[Response | None]]


@dataclass(frozen=True, slots=True)
class ShortStream:
    """WebSockets that are served at once; `serve` also takes what is in the path, by name."""

    path: re.Pattern[str]
    serve: Callable[..., Awaitable[None]]


class _InOneMessage(Request):
    """A request whose body is one message, as a `BodyLimit` gives it."""

    _whole: bytes | None = None

    async def body(self) -> bytes:
        """The body; Starlette puts it together by an asynchronous generator."""
        if self._whole is None:
            self._whole = (await self.receive())["body"]
        return self._whole


class ShortWay:
    """ASGI middleware behind a `BodyLimit`: leads to the short routes and streams, or to the app.

    `handlers` make answers of exceptions, by their type. One that only the handler of `Exception`
    knows is raised again behind its answer, for the server to log.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[ShortRoute],
        streams: Sequence[ShortStream],
        handlers: Mapping[Any, ExceptionHandler],
    ) -> None:
        self._app = app
        self._routes = routes
        self._streams = streams
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http":
            for route in self._routes:
                found = route.path.fullmatch(scope["path"])
                if found is not None and scope["method"] in route.methods:
                    request = _InOneMessage(scope, receive, send)
                    if await self._is_answered(route, request, found.groupdict(), send):
                        return
                    receive = replay(await request.body(), receive)
                    break
        elif scope["type"] == "websocket":
            for stream in self._streams:
                found = stream.path.fullmatch(scope["path"])
                if found is not None:
                    await stream.serve(WebSocket(scope, receive, send), **found.groupdict())
                    return
        await self._app(scope, receive, send)

    async def _is_answered(
        self, route: ShortRoute, request: Request, in_path: Mapping[str, str], send: Send
    ) -> bool:
        try:
            response = await route.answer(request, in_path)
        except Exception as error:
            kind = next((kind for kind in type(error).__mro__ if kind in self._handlers), None)
            if kind is None:
                raise
            answer: Response = await self._handlers[kind](request, error)  # type: ignore
            await answer(request.scope, request.receive, send)
            if kind is Exception:
                raise
            return True
        if response is None:
            return False
        await response(request.scope, request.receive, send)
        return True
