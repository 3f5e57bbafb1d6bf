"""Routes of Twilio's webhooks. Requests without a valid signature get 403.

    /twilio/inbound            a call comes in: create its record, answer with TwiML
    /twilio/twiml/{id}         Twilio asks for TwiML: at the answer, and after each stream
    /twilio/status/{id}        the call's status changed (late, twice, out of order, or never)
    /twilio/status             the same for inbound calls, which share one address
    /twilio/stream-status/{id} a media stream started, stopped or failed

Source: https://www.twilio.com/docs/voice/twiml#request-parameters
"""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from loguru import logger

from agent.lifecycle.events import Event, TwilioStatus, TwimlFetched
from agent.lifecycle.state import Apologise, CallState, OpenStream, TransferVerb, next_verbs
from agent.record.call_log import NoSuchCall
from agent.record.models import Call
from server.resources import Opened, Resources
from server.routes.errors import Invalid, Problem
from server.routes.incoming_call import NotTaken, hung_up, take_call
from server.routes.signed_form import SignedForm
from server.twilio import twiml

# Twilio's SIDs are 34 characters; other text is in no record.
SID = re.compile(r"[A-Za-z0-9]{1,64}")
# The fields of a stream status callback that are recorded.
STREAM_FIELDS = {"StreamEvent": "event", "StreamSid": "stream_sid", "StreamError": "error"}

router = APIRouter(
    prefix="/twilio",
    tags=["twilio"],
    responses={
        400: {"model": Problem, "description": "Something that is needed is missing or no SID."},
        403: {"model": Problem, "description": "Not signed by Twilio, or no form."},
        404: {"model": Problem, "description": "There is no such call."},
        408: {"model": Problem, "description": "The form did not arrive in time."},
        413: {"model": Problem, "description": "The form is larger than 16 kB."},
        422: {"model": Invalid, "description": "Something of the request is not valid."},
        503: {"model": Problem, "description": "The database cannot be used now."},
    },
)


def _form(*fields: str) -> dict[str, Any]:
    """Document the form fields that are read; the others count for the signature only."""
    properties = {name: {"type": "string"} for name in fields}
    schema = {"type": "object", "properties": properties, "required": [fields[0]]}
    content = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


TWIML: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/xml": {}}, "description": "TwiML."}
}


@router.post(
    "/inbound",
    summary="A call comes in",
    response_class=Response,
    responses=TWIML,
    openapi_extra=_form("CallSid", "From", "To"),
)
async def inbound(form: SignedForm, opened: Opened) -> Response:
    """A call comes in: create its record once, however often Twilio asks."""
    sid = _sid(form, opened)
    call = await opened.call_log.find_by_sid(sid)
    if call is None:
        try:
            call = await take_call(sid, form.get("To", ""), form.get("From", ""), opened)
        except NotTaken as not_taken:
            return _xml(not_taken.twiml)
    state = await opened.life.tell(call.id, TwimlFetched(opened.clock()))
    return _xml(_next(call, sid, state, opened))


@router.post(
    "/twiml/{call_id}",
    summary="What Twilio does next with a call",
    response_class=Response,
    responses=TWIML,
    openapi_extra=_form("CallSid", "CallStatus"),
)
async def next_twiml(call_id: str, form: SignedForm, opened: Opened) -> Response:
    """TwiML: what Twilio is to do next with the call."""
    call = await _find(call_id, form, opened)
    now = opened.clock()
    told: list[Event] = [TwimlFetched(now)]
    if form.get("CallStatus"):
        told.insert(0, TwilioStatus(now, form["CallStatus"], form["CallSid"]))
    state = await opened.life.tell_or_assume(call_id, *told)
    return _xml(_next(call, form["CallSid"], state, opened))


@router.post(
    "/status/{call_id}",
    summary="The status of a call changed",
    status_code=204,
    openapi_extra=_form("CallSid", "CallStatus"),
)
async def status(call_id: str, form: SignedForm, opened: Opened) -> None:
    """The call's status changed."""
    await _find(call_id, form, opened)
    word = form.get("CallStatus")
    if not word:
        raise _unusable("CallStatus is missing.", opened)
    await opened.life.tell(call_id, TwilioStatus(opened.clock(), word, form["CallSid"]))


@router.post(
    "/status",
    summary="The status of an inbound call changed",
    status_code=204,
    openapi_extra=_form("CallSid", "CallStatus"),
)
async def inbound_status(form: SignedForm, opened: Opened) -> None:
    """The status of an inbound call changed: the number's status callback in Twilio's console."""
    sid = _sid(form, opened)
    call = await opened.call_log.find_by_sid(sid)
    if call is None:
        if await hung_up(sid, opened):
            return
        raise _unknown("There is no call with this CallSid.", opened)
    await status(call.id, form, opened)


@router.post(
    "/stream-status/{call_id}",
    summary="The status of a media stream changed",
    status_code=204,
    openapi_extra=_form("CallSid", "StreamSid", "StreamEvent", "StreamError"),
)
async def stream_status(call_id: str, form: SignedForm, opened: Opened) -> None:
    """Record Twilio's report of a media stream that started, stopped or failed."""
    await _find(call_id, form, opened)
    detail = {ours: form[theirs][:500] for theirs, ours in STREAM_FIELDS.items() if theirs in form}
    opened.records.recorder(call_id).event("twilio.stream", detail)
    if "error" in detail:
        logger.warning("Twilio reports a failed stream", call_id=call_id)


async def _find(call_id: str, form: Mapping[str, str], opened: Resources) -> Call:
    sid = _sid(form, opened)
    try:
        call = await opened.life.record_or_known(call_id) if SID.fullmatch(call_id) else None
    except NoSuchCall:
        call = None
    if call is None:
        raise _unknown("There is no call with this id.", opened)
    if call.twilio_sid and sid != call.twilio_sid:
        raise _unknown("This call has another CallSid.", opened)
    return call


def _sid(form: Mapping[str, str], opened: Resources) -> str:
    sid = form.get("CallSid", "")
    if not SID.fullmatch(sid):
        raise _unusable("CallSid is missing, or is none.", opened)
    return sid


def _unknown(detail: str, opened: Resources) -> HTTPException:
    opened.metrics.rejected.labels("unknown_call").inc()
    return HTTPException(404, detail)


def _unusable(detail: str, opened: Resources) -> HTTPException:
    opened.metrics.rejected.labels("invalid_request").inc()
    return HTTPException(400, detail)


def _next(call: Call, sid: str, state: CallState, opened: Resources) -> str:
    settings = opened.settings
    language = str(call.profile.get("language", "en"))
    match next_verbs(state):
        case OpenStream():
            opened.registry.expect(call)
            return twiml.open_stream(
                url=f"{settings.stream_base_url}/twilio/media/{call.id}",
                status_url=f"{settings.base_url}/twilio/stream-status/{call.id}",
                token=opened.tokens.mint(call.id, sid, now=opened.clock()),
                next_url=f"{settings.base_url}/twilio/twiml/{call.id}",
            )
        case Apologise(key):
            return twiml.say_and_hang_up(key, language)
        case TransferVerb(number, apologises):
            return twiml.transfer(
                number,
                caller_id=settings.caller_id(call.our_number),
                sentence="handed_on" if apologises else None,
                language=language,
            )
        case _:
            return twiml.hang_up()


def _xml(document: str) -> Response:
    return Response(document, media_type="application/xml")
