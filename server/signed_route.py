"""The short way of Twilio's webhooks: a call has eight or so, and each waits for the one before.

    request ─▶ body ─▶ form ─▶ signature ─▶ endpoint(form, opened, call_id) ─▶ answer
                                   └─ 403

FastAPI would go through its layers, and look at each parameter of an endpoint, in every request.
These endpoints have no parameters but those; what they declare is for `/docs`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException as UnreadableForm
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from server.resources import Opened, Resources

FORM_FIELDS = 200
FIELD_BYTES = 16_384
USUAL_FORM = "application/x-www-form-urlencoded"


class SignedRoute(APIRoute):
    """A route whose endpoint takes `form`, `opened` and what is in the path, all by name."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request that came the long way."""

        async def handle(request: Request) -> Response:
            return await self.answer(request, request.path_params)

        return handle

    async def answer(self, request: Request, in_path: Mapping[str, str]) -> Response:
        """Answer a request of Twilio's. Raises: HTTPException, 403 for one that is not."""
        opened: Resources = request.state.resources
        form = await signed_form(request, opened)
        endpoint: Callable[..., Awaitable[Response | None]] = self.endpoint
        answer = await endpoint(form=form, opened=opened, **in_path)
        return Response(status_code=self.status_code or 200) if answer is None else answer


class ShortWay:
    """ASGI middleware: requests for signed routes go to them at once, all others to the app.

    `handlers` make answers of exceptions, by their type; those of others go on.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        handlers: Mapping[Any, ExceptionHandler],
    ) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, SignedRoute)]
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http":
            for route in self._routes:
                found = route.path_regex.match(scope["path"])
                if found is not None and scope["method"] in (route.methods or ()):
                    request = Request(scope, receive, send)
                    response = await self._answer(route, request, found.groupdict())
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(
        self, route: SignedRoute, request: Request, in_path: Mapping[str, str]
    ) -> Response:
        try:
            return await route.answer(request, in_path)
        except Exception as error:
            for kind in type(error).__mro__:
                if kind is not Exception and (handler := self._handlers.get(kind)):
                    response: Response = await handler(request, error)  # type: ignore
                    return response
            raise


async def signed_form(request: Request, opened: Opened) -> Mapping[str, str]:
    """The form of a request that Twilio signed; 403 for any other."""
    form = await _form(request)
    signature = request.headers.get("x-twilio-signature")
    query = request.scope["query_string"].decode("latin-1")
    if not opened.signatures.signed_webhook(request.scope["path"], query, form, signature):
        opened.metrics.rejected.labels("webhook_signature").inc()
        raise HTTPException(403, "The X-Twilio-Signature is missing or wrong.")
    return {name: value for name, value in form if isinstance(value, str)}


async def _form(request: Request) -> list[tuple[str, Any]]:
    """Name and value of each field, in order; nothing of a form that cannot be read."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != USUAL_FORM:
        try:
            form = await request.form(
                max_files=0, max_fields=FORM_FIELDS, max_part_size=FIELD_BYTES
            )
        except UnreadableForm:
            form = FormData()
        return form.multi_items()
    body = (await request.body()).decode("latin-1")
    try:
        fields = parse_qsl(body, keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError:
        return []
    if len(body) > FIELD_BYTES and any(len(n) + len(v) > FIELD_BYTES for n, v in fields):
        return []
    return list(fields)
