"""WebSocket route of Twilio's media streams: authenticates, then passes on or carries the stream.

    upgrade: signature ─▶ accept ─▶ `connected` ─▶ `start`: token, call SID ─┬─▶ relay … close
                                                                             └─▶ bind ─▶ pump …

A stream whose call another instance has prepared, or carries, is passed on to it; otherwise, and
when that one does not accept in time, it is carried here.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import asyncio

from fastapi import APIRouter, WebSocket
from loguru import logger
from starlette.responses import JSONResponse

from agent.record.call_log import NoSuchCall
from agent.record.models import Call
from pipelines.phone.twilio_serializer import Connected, Start, StreamError, decode
from server.resources import Opened, Resources
from server.routes.media_stream import (
    UNACCEPTABLE,
    Refused,
    carry,
    next_start,
    next_text,
    served,
)
from server.twilio.media_websocket import DIRECT_SOCKET, MediaWebSocketProtocol
from server.twilio.stream_tokens import TokenRefused

HANDSHAKE_TIMEOUT_SECS = 10.0

MEDIA_PATH = "/twilio/media/{call_id}"

router = APIRouter()


@router.websocket(MEDIA_PATH)
async def media(websocket: WebSocket, call_id: str, opened: Opened) -> None:
    """Carry one media stream of one call."""
    signature = websocket.headers.get("x-twilio-signature")
    if not opened.signatures.signed_upgrade(websocket.scope["path"], signature):
        opened.metrics.rejected.labels("stream_signature").inc()
        checked = opened.settings.stream_base_url + websocket.scope["path"]
        opened.signature_warnings.warn(MEDIA_PATH, checked, websocket.headers)
        detail = {"detail": "The X-Twilio-Signature is missing or wrong."}
        await websocket.send_denial_response(JSONResponse(detail, 403))
        return
    await websocket.accept()
    await served(websocket, call_id, opened, _serve(websocket, call_id, opened))


async def _serve(websocket: WebSocket, call_id: str, opened: Resources) -> None:
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECS):
            start, text = await _handshake(websocket)
            call = await _admit(start, call_id, opened)
    except TimeoutError:
        raise Refused("late_start") from None
    if await _passed_on(websocket, call_id, start.stream_sid, text, opened):
        return
    direct: MediaWebSocketProtocol = websocket.scope["extensions"][DIRECT_SOCKET]
    if not direct.is_open:
        # It would take the call from the stream that has followed it.
        logger.info("A stream closed before an instance had taken it")
        return
    await carry(websocket, call, start.stream_sid, opened)


async def _passed_on(
    websocket: WebSocket, call_id: str, stream_sid: str, start: str, opened: Resources
) -> bool:
    """Pass the stream on to the instance that has the call, until it ends; False: nobody has."""
    registry = opened.registry
    if opened.relay is None or registry.running(call_id) is not None:
        return False
    direct: MediaWebSocketProtocol = websocket.scope["extensions"][DIRECT_SOCKET]
    registry.places.relays += 1
    try:
        if registry.has_let_go(call_id) and opened.moves is not None:
            await opened.moves.elsewhere(call_id)
        return await opened.relay.pass_on(direct, call_id, stream_sid, start)
    finally:
        registry.places.relays -= 1


async def _handshake(websocket: WebSocket) -> tuple[Start, str]:
    try:
        if not isinstance(decode(await next_text(websocket)), Connected):
            raise Refused("no_connected")
    except StreamError:
        raise Refused("bad_start", UNACCEPTABLE) from None
    return await next_start(websocket)


async def _admit(start: Start, call_id: str, opened: Resources) -> Call:
    try:
        token = opened.tokens.check(start.parameters.get("token", ""), call_id, now=opened.clock())
    except TokenRefused:
        raise Refused("token") from None
    if not await opened.live_calls.use_token(token.token_id, opened.tokens.good_for_secs):
        raise Refused("token_used")
    try:
        # Without a database read: the caller hears silence meanwhile.
        call = opened.registry.expected(call_id) or await opened.call_log.get(call_id)
    except NoSuchCall:
        raise Refused("unknown_call") from None
    if start.call_sid != token.call_sid or call.twilio_sid not in (None, start.call_sid):
        raise Refused("call_sid")
    if call.status.is_terminal:
        raise Refused("call_over")
    return call
