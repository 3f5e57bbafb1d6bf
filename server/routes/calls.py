"""Routes of the calls API: place, read, end and erase calls. Needs a bearer key."""

import asyncio
import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from fastapi.responses import StreamingResponse
from loguru import logger

from agent.lifecycle.events import Terminate
from agent.record.call_log import BadCursor, CallIsLive, NoSuchCall
from agent.record.models import ADDRESS_LENGTH, Call, CallStatus, Direction
from server.calls.schemas import (
    PLACED_EXAMPLE,
    TALKING_EXAMPLE,
    CallDetail,
    CallPage,
    CallRequest,
    CallResult,
    CallView,
    EventPage,
    EventView,
    Transcript,
    TurnView,
    UtcDateTime,
)
from server.resources import Opened, Resources
from server.routes.auth import NO_KEY, TOO_MANY, authenticate
from server.routes.errors import Invalid, problem
from server.routes.local_requests import FROM_OTHER_SITE
from server.routes.place_call import NO_LINE, NOT_ALLOWED, OTHER_BODY, place_call
from server.settings.profile_fields import Text

RECORDING_TYPE = "audio/wav"
PIECE_BYTES = 262_144
CALL_ID = re.compile(r"[0-9a-f]{32}")
# The largest id that the database can store.
LAST_EVENT = 2**31 - 1
# How long a response waits for rows that are still to be written.
FLUSH_TIMEOUT_SECS = 5.0

NO_CALL = "There is no call with this id."
STILL_LIVE = "The call is still live: terminate it first."
STILL_TALKING = "The call still lasts: its recording can be had when it is over."
NOT_RECORDED = "There is no recording of this call here."
NOT_READ = "The recording of this call cannot be read now."
NOT_ERASED = "The recording of this call cannot be erased now."


# What each route of calls may answer.
ANSWERS: dict[int | str, dict[str, Any]] = {
    401: problem("No valid API key.", NO_KEY),
    403: problem("Without API keys: sent by a page of another site.", FROM_OTHER_SITE),
    422: {"model": Invalid, "description": "Something of the request is not valid."},
    429: problem("Too many requests without a valid API key (see Retry-After).", TOO_MANY),
    503: problem(
        "The database cannot be used now (see Retry-After).",
        "The database cannot be used now; try again.",
    ),
}
router = APIRouter(
    prefix="/calls", tags=["calls"], dependencies=[Depends(authenticate)], responses=ANSWERS
)
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: problem("There is no such call.", NO_CALL)}


async def known_call(call_id: str, opened: Opened) -> Call:
    """The call in the path; 404 when there is none."""
    try:
        if not CALL_ID.fullmatch(call_id):
            raise NoSuchCall(call_id)
        return await opened.call_log.get(call_id)
    except NoSuchCall:
        opened.metrics.rejected.labels("unknown_call").inc()
        raise HTTPException(404, NO_CALL) from None


KnownCall = Annotated[Call, Depends(known_call)]


@router.post(
    "",
    summary="Place a call",
    status_code=201,
    responses={
        201: {
            "description": "The call.",
            "content": {"application/json": {"example": PLACED_EXAMPLE}},
        },
        400: problem("The body is not text.", "There was an error parsing the body"),
        403: problem(
            "ALLOWED_DESTINATIONS does not allow the number, or a page of another site asks.",
            NOT_ALLOWED,
        ),
        408: problem("The body did not arrive in time.", "The body did not arrive in time."),
        409: problem("The Idempotency-Key was used with another body.", OTHER_BODY),
        413: problem("The body is larger than 64 kB.", "The body is larger than 64 kB."),
        429: problem(
            "DAILY_CALL_LIMIT is reached, or too many requests came without a valid API key.",
            "DAILY_CALL_LIMIT: 1000 calls were placed in 24 hours.",
        ),
        503: problem(
            "No capacity, no database or no Temporal now (see Retry-After), or no Twilio or Gemini "
            "configured.",
            NO_LINE,
        ),
    },
)
async def place(
    body: CallRequest,
    opened: Opened,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[ -~]+$",
            max_length=200,
            description="A text of yours, new for each call: a request that is sent again with the "
            "same key and body places no other call, and answers with the first one.",
        ),
    ] = None,
) -> CallView:
    """Call a number. When Twilio refuses it, the call is there all the same: failed, with why."""
    call = await place_call(body, idempotency_key, opened)
    response.headers["Location"] = f"/calls/{call.id}"
    return CallView.of(call)


@router.get("", summary="List calls, newest first")
async def list_calls(
    opened: Opened,
    status: CallStatus | None = None,
    direction: Direction | None = None,
    phone_number: Annotated[
        Text | None, Query(max_length=ADDRESS_LENGTH, description="The person's, whole.")
    ] = None,
    our_number: Annotated[
        Text | None, Query(max_length=ADDRESS_LENGTH, description="Ours, whole.")
    ] = None,
    id_prefix: Annotated[
        str | None, Query(pattern="^[0-9a-f]{1,32}$", description="How the id begins.")
    ] = None,
    since: Annotated[UtcDateTime | None, Query(description="Created at or after.")] = None,
    until: Annotated[UtcDateTime | None, Query(description="Created before.")] = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> CallPage:
    """Calls, newest first."""
    try:
        page = await opened.call_log.list(
            status=status,
            direction=direction,
            phone_number=_with_plus(phone_number),
            our_number=_with_plus(our_number),
            id_prefix=id_prefix,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )
    except BadCursor:
        raise HTTPException(422, "The cursor is not one that this API gave.") from None
    return CallPage(calls=[CallView.of(call) for call in page.calls], next_cursor=page.next_cursor)


def _with_plus(address: str | None) -> str | None:
    """`address` as it was meant: an unescaped plus arrives as a space."""
    return "+" + address[1:] if address and address[0] == " " else address


@router.get("/{call_id}", summary="Read a call", responses=NOT_FOUND)
async def read(call: KnownCall, opened: Opened) -> CallDetail:
    """A call as it is now, how fast it was and what it used so far, and whether it is recorded."""
    if call.status.is_terminal:
        await _flush_record(call, opened)
    log = opened.call_log
    return CallDetail.with_measures(
        call,
        await log.latency(call.id),
        await log.usage(call.id),
        recording=await _is_recorded(call, opened),
        workflow_url=opened.settings.workflow_url(call.id),
    )


@router.get("/{call_id}/transcript", summary="Read what was said", responses=NOT_FOUND)
async def transcript(call: KnownCall, opened: Opened) -> Transcript:
    """What was said so far, in the order spoken, as it was heard."""
    await _flush_record(call, opened)
    turns = await opened.call_log.transcript(call.id)
    return Transcript(call_id=call.id, turns=[TurnView.of(turn) for turn in turns])


@router.get("/{call_id}/events", summary="Read what happened", responses=NOT_FOUND)
async def events(
    call: KnownCall,
    opened: Opened,
    after: Annotated[
        int, Query(ge=0, le=LAST_EVENT, description="The id of the last event read.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> EventPage:
    """What happened in and to the call so far."""
    await _flush_record(call, opened)
    found = await opened.call_log.events(call.id, after=after, limit=limit)
    return EventPage(
        call_id=call.id,
        events=[EventView.of(event) for event in found],
        next_cursor=found[-1].id if len(found) == limit else None,
    )


@router.get(
    "/{call_id}/result",
    summary="Wait for the end of a call",
    response_model=CallResult,
    responses={
        **NOT_FOUND,
        202: {
            "model": CallView,
            "description": "The call still lasts: a CallView.",
            "content": {"application/json": {"example": TALKING_EXAMPLE}},
        },
    },
)
async def result(
    call: KnownCall,
    opened: Opened,
    response: Response,
    wait: Annotated[float, Query(ge=0, le=120, description="Seconds to wait for the end.")] = 30,
) -> Any:
    """How the call ended, how fast it was, and all that was said; waits for the end."""
    ended = await opened.life.ended(call.id, wait)
    if ended is None:
        now = await opened.call_log.get(call.id)
        response.status_code = 202
        return Response(
            CallView.of(now).model_dump_json(), status_code=202, media_type="application/json"
        )
    await _flush_record(ended, opened)
    log = opened.call_log
    return CallResult.with_talk(
        ended,
        await log.latency(call.id),
        await log.transcript(call.id),
        await log.usage(call.id),
        recording=await _is_recorded(ended, opened),
        workflow_url=opened.settings.workflow_url(call.id),
    )


@router.get(
    "/{call_id}/recording",
    summary="Fetch the recording of a call",
    response_class=StreamingResponse,
    responses={
        200: {"content": {RECORDING_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
        404: problem(
            "There is no such call, or no recording of it on this instance.", NOT_RECORDED
        ),
        409: problem(
            "The call still lasts, or its recording is still being written.", STILL_TALKING
        ),
        503: problem("The database cannot be used, or the recording not be read, now.", NOT_READ),
    },
)
async def recording(call: KnownCall, opened: Opened) -> StreamingResponse:
    """The sound of an ended call: a stereo WAV of mu-law at 8 kHz, the caller left, the agent
    right, from the answer on."""
    if not call.status.is_terminal:
        raise HTTPException(409, STILL_TALKING)
    await _flush_record(call, opened)
    await opened.recordings.written(call.id)
    if opened.recordings.grows(call.id):
        raise HTTPException(409, "The recording of this call is still being written; try again.")
    path = opened.recordings.path(call.id)
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise HTTPException(404, NOT_RECORDED) from None
    except OSError as error:
        logger.error("A recording cannot be read", call_id=call.id, why=error.strerror)
        raise HTTPException(503, NOT_READ) from None
    size = os.fstat(file.fileno()).st_size
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{path.name}"',
    }
    return StreamingResponse(_pieces(file, size), media_type=RECORDING_TYPE, headers=headers)


def _pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    """Read the first `left` bytes of a file, and close it.

    Starlette's FileResponse would open the file only after sending 200, read beyond its
    Content-Length when the file grows, and answer a bad Range with plain text.
    """
    with file:
        while left and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece


async def _is_recorded(call: Call, opened: Resources) -> bool:
    grows = opened.recordings.grows(call.id)
    return grows or await asyncio.to_thread(opened.recordings.path(call.id).is_file)


async def _flush_record(call: Call, opened: Resources) -> None:
    """Wait until the rows of a call are in the database, at most 5 s."""
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT_SECS):
            if call.status.is_terminal:
                await opened.registry.until_reported(call.id)
            await opened.records.flush(call.id)
    except TimeoutError:
        logger.warning("The record of a call is late: the database is slow", call_id=call.id)


@router.post("/{call_id}/terminate", summary="End a call", status_code=204, responses=NOT_FOUND)
async def terminate(call: KnownCall, opened: Opened) -> None:
    """End the call; one that has ended already is fine."""
    await opened.life.tell(call.id, Terminate(opened.clock()))


@router.delete(
    "/{call_id}",
    summary="Erase a call",
    status_code=204,
    responses={
        **NOT_FOUND,
        409: problem("The call is still live.", STILL_LIVE),
        503: problem(
            "The database cannot be used, or the recording not be erased, now.", NOT_ERASED
        ),
    },
)
async def erase(call: KnownCall, opened: Opened) -> None:
    """Erase an ended call with its record, recording and cassette."""
    await _flush_record(call, opened)
    await _erase_recording(call, opened)
    try:
        await opened.call_log.delete(call.id)
    except CallIsLive:
        raise HTTPException(409, STILL_LIVE) from None
    except NoSuchCall:
        raise HTTPException(404, NO_CALL) from None


async def _erase_recording(call: Call, opened: Resources) -> None:
    """Erase the recording, before the record by which it is found."""
    if not call.status.is_terminal:
        raise HTTPException(409, STILL_LIVE)
    try:
        await opened.recordings.erase(call.id)
        await opened.cassettes.erase(call.id)
    except OSError as error:
        logger.error(
            "A recording or cassette cannot be erased", call_id=call.id, why=error.strerror
        )
        raise HTTPException(503, NOT_ERASED) from None
