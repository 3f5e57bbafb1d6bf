"""Twilio's webhooks: refuses what cannot be one by its head, checks the signature of the form."""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import Headers, ImmutableMultiDict
from starlette.types import Scope

from server.http.body_limit import Refusal, declared_bytes
from server.resources import Opened, Resources

FORM_FIELDS = 200
# Twilio's forms are some 1 kB, and a few more with SIP headers and an identity token (STIR/SHAKEN).
FORM_LIMIT_BYTES = 16_384
FORM_TYPE = "application/x-www-form-urlencoded"
WEBHOOK = re.compile(r"(/twilio/(?:inbound|status|twiml|stream-status))(/.+)?")
# HMAC-SHA1 in base64.
SIGNATURE = re.compile(r"[A-Za-z0-9+/]{27}=")

NOT_SIGNED = "The X-Twilio-Signature is missing or wrong."
NO_FORM = f"The body must be {FORM_TYPE}."
TOO_LARGE = "The form is larger than 16 kB."


def refuse_webhook(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuse a webhook that cannot be Twilio's, before its body is read; None for all others."""
    if scope["method"] != "POST" or not scope["path"].startswith("/twilio/"):
        return None
    if not SIGNATURE.fullmatch(headers.get("x-twilio-signature", "")):
        return Refusal(403, NOT_SIGNED, "webhook_signature")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return Refusal(403, NO_FORM, "webhook_type")
    if declared_bytes(headers) > FORM_LIMIT_BYTES:
        return Refusal(413, TOO_LARGE, "body_too_large")
    return None


def warn_unsigned(scope: Scope, opened: Resources) -> None:
    """Warn that a webhook has no valid signature, once a minute and route; other paths never."""
    found = WEBHOOK.fullmatch(scope["path"])
    if found is not None:
        route = found[1] + ("/{call_id}" if found[2] else "")
        query = "?…" if scope["query_string"] else ""
        checked = opened.settings.base_url + scope["path"] + query
        opened.signature_warnings.warn(route, checked, Headers(scope=scope))


async def signed_form(request: Request, opened: Opened) -> Mapping[str, str]:
    """The form of a request that Twilio signed.

    Raises: HTTPException, 403 for any other request, and for more than 200 fields; 413.
    """
    body = await request.body()
    if len(body) > FORM_LIMIT_BYTES:
        opened.metrics.rejected.labels("body_too_large").inc()
        raise HTTPException(413, TOO_LARGE)
    form = _read_form(body)
    signature = request.headers.get("x-twilio-signature")
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["path"]
    if form is None or not opened.signatures.signed_webhook(path, query, form, signature):
        opened.metrics.rejected.labels("webhook_signature").inc()
        warn_unsigned(request.scope, opened)
        raise HTTPException(403, NOT_SIGNED)
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
