"""The routes of Twilio's webhooks: a call has eight or so, and each waits for the one before.

    request ─▶ body ─▶ form ─▶ signature ─▶ endpoint(form, opened, call_id) ─▶ answer
                                   └─ 403

Their endpoints have no parameters but those.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException as UnreadableForm
from starlette.routing import BaseRoute

from server.form_fields import form_fields
from server.resources import Opened, Resources
from server.short_way import ShortRoute

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
        opened: Resources = request.scope["state"]["resources"]
        form = await signed_form(request, opened)
        endpoint: Callable[..., Awaitable[Response | None]] = self.endpoint
        answer = await endpoint(form=form, opened=opened, **in_path)
        return Response(status_code=self.status_code or 200) if answer is None else answer


def short_routes(routes: Iterable[BaseRoute]) -> list[ShortRoute]:
    """The signed ones of these routes, past FastAPI."""
    return [
        ShortRoute(route.path_regex, route.methods or (), route.answer)
        for route in routes
        if isinstance(route, SignedRoute)
    ]


async def signed_form(request: Request, opened: Opened) -> Mapping[str, str]:
    """The form of a request that Twilio signed; 403 for any other."""
    form = await _form(request)
    signature = request.headers.get("x-twilio-signature")
    query = request.scope["query_string"].decode("latin-1")
    if not opened.signatures.signed_webhook(request.scope["path"], query, form, signature):
        opened.metrics.rejected.labels("webhook_signature").inc()
        raise HTTPException(403, "The X-Twilio-Signature is missing or wrong.")
    return {name: value for name, value in form if isinstance(value, str)}


async def _form(request: Request) -> Sequence[tuple[str, Any]]:
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
        fields = form_fields(body, most=FORM_FIELDS)
    except ValueError:
        return []
    if len(body) > FIELD_BYTES and any(len(n) + len(v) > FIELD_BYTES for n, v in fields):
        return []
    return fields
