"""The short way of Twilio's webhooks: a call has eight or so, and each waits for the one before.

    request ─▶ body ─▶ form ─▶ signature ─▶ endpoint(form, opened, call_id) ─▶ answer
                                   └─ 403

FastAPI would look at each parameter and dependency of an endpoint in every request. These have none
but those; what they declare is for `/docs`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException as UnreadableForm

from server.resources import Opened, Resources

FORM_FIELDS = 200
FIELD_BYTES = 16_384
USUAL_FORM = "application/x-www-form-urlencoded"


class SignedRoute(APIRoute):
    """A route whose endpoint takes `form`, `opened` and what is in the path, all by name."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        endpoint: Callable[..., Awaitable[Response | None]] = self.endpoint
        status = self.status_code or 200

        async def handle(request: Request) -> Response:
            opened: Resources = request.state.resources
            form = await signed_form(request, opened)
            answer = await endpoint(form=form, opened=opened, **request.path_params)
            return Response(status_code=status) if answer is None else answer

        return handle


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
