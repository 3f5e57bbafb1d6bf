"""Routes between instances: streams and changes of calls that this one has, passed on by another.

Each request carries a signature of `RelaySignatures`, which is checked before anything of it is
read; a signature of Twilio's or an API key opens none of them. Without Redis there is no other
instance, and none of these routes.

    upgrade: signature, has the call? ─▶ accept ─▶ `start` ─▶ bind ─▶ pump … close
"""

import asyncio
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from loguru import logger
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse

from server.calls.schemas import Moving
from server.relay.relay import CHANGE, HINT, MEDIA, MOVE, STREAM_SID_HEADER, TAKE, digest
from server.relay.relay_signatures import HEADER, RelayRefused
from server.resources import Opened, Resources
from server.routes.change_call import CallChange, Hint, change_here, hint_here
from server.routes.media_stream import Refused, carry, next_start, served
from server.routes.move_call import Move, move_here

START_TIMEOUT_SECS = 2.0

Body = TypeVar("Body", bound=BaseModel)

router = APIRouter(prefix="/internal", include_in_schema=False)


def _why_not(opened: Resources, signature: str, *asked: str) -> tuple[int, str] | None:
    """Status and detail of a refusal; None when another instance asks for this."""
    if opened.relay is None:
        return 404, "There are no other instances."
    try:
        opened.relay.signatures.check(signature, *asked)
    except RelayRefused as refused:
        opened.metrics.rejected.labels("relay_signature").inc()
        logger.warning("A request that says it is another instance's was refused", why=str(refused))
        return 403, "The signature is missing or wrong."
    return None


@router.websocket("/media/{call_id}")
async def media(websocket: WebSocket, call_id: str, opened: Opened) -> None:
    """Carry a stream that another instance passes on, as if it were Twilio's own."""
    stream_sid = websocket.headers.get(STREAM_SID_HEADER, "")
    signature = websocket.headers.get(HEADER, "")
    why = _why_not(opened, signature, MEDIA, call_id, stream_sid)
    if why is None and not opened.registry.has(call_id):
        why = 409, "The call is not here."
    if why is not None:
        status, detail = why
        await websocket.send_denial_response(JSONResponse({"detail": detail}, status))
        return
    await websocket.accept()
    await served(websocket, call_id, opened, _serve(websocket, call_id, stream_sid, opened))


async def _serve(websocket: WebSocket, call_id: str, stream_sid: str, opened: Resources) -> None:
    # Only an instance that was not kept waiting for too long sends `start`.
    try:
        async with asyncio.timeout(START_TIMEOUT_SECS):
            start, _ = await next_start(websocket)
    except TimeoutError:
        raise Refused("late_start") from None
    if start.stream_sid != stream_sid:
        raise Refused("bad_start")
    # The other instance has seen the call's record; what is prepared here needs no newer one.
    call = opened.registry.places.record_of(call_id) or await opened.call_log.get(call_id)
    with opened.registry.passed_on(call_id, stream_sid):
        await carry(websocket, call, stream_sid, opened)


async def _signed(call_id: str, request: Request, opened: Opened) -> bytes:
    """The body of a request, which another instance has signed. Raises: HTTPException.

    A parameter that is a model would be parsed before this.
    """
    what = request.url.path.split("/")[2]
    body = await request.body()
    why = _why_not(opened, request.headers.get(HEADER, ""), what, call_id, digest(body))
    if why is not None:
        raise HTTPException(*why)
    return body


Signed = Annotated[bytes, Depends(_signed)]


@router.post(f"/{CHANGE}/{{call_id}}", status_code=204)
async def change(call_id: str, body: Signed, opened: Opened) -> None:
    """As `PATCH /calls/{id}`, which another instance was asked."""
    change_here(call_id, _read(CallChange, body), opened)


@router.post(f"/{HINT}/{{call_id}}", status_code=204)
async def hint(call_id: str, body: Signed, opened: Opened) -> None:
    """As `POST /calls/{id}/hint`, which another instance was asked."""
    hint_here(call_id, _read(Hint, body), opened)


@router.post(f"/{MOVE}/{{call_id}}", status_code=202)
async def move(call_id: str, body: Signed, opened: Opened) -> Moving:
    """As `POST /calls/{id}/move`, which another instance was asked."""
    return await move_here(call_id, _read(Move, body), opened)


@router.post(f"/{TAKE}/{{call_id}}", status_code=204)
async def take(call_id: str, _: Signed, opened: Opened) -> None:
    """Keep a place for a call that another instance lets go of. 409 when there is none."""
    if not await opened.registry.take_over(await opened.call_log.get(call_id)):
        raise HTTPException(409, "There is no place for another call.")


def _read(model: type[Body], body: bytes) -> Body:
    """What a body says. Raises: RequestValidationError, as for an instance of another version."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
