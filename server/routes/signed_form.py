"""FastAPI dependency for Twilio's webhooks: checks the signature, returns the form."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import ImmutableMultiDict

from server.resources import Opened

FORM_FIELDS = 200


async def signed_form(request: Request, opened: Opened) -> Mapping[str, str]:
    """The form of a request that Twilio signed.

    Raises: HTTPException, 403 for any other request, and for more than 200 fields.
    """
    form = _read_form(await request.body())
    signature = request.headers.get("x-twilio-signature")
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["path"]
    if form is None or not opened.signatures.signed_webhook(path, query, form, signature):
        opened.metrics.rejected.labels("webhook_signature").inc()
        checked = opened.settings.base_url + path + ("?…" if query else "")
        opened.signature_warnings.warn(request.scope["route"].path, checked, request.headers)
        raise HTTPException(403, "The X-Twilio-Signature is missing or wrong.")
    return form


SignedForm = Annotated[Mapping[str, str], Depends(signed_form)]


def _read_form(body: bytes) -> ImmutableMultiDict[str, str] | None:
    """The fields of an `application/x-www-form-urlencoded` body; None when there are too many."""
    try:
        fields = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, max_num_fields=FORM_FIELDS
        )
    except ValueError:
        return None
    return ImmutableMultiDict(fields)
