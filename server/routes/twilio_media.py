"""WebSocket route of Twilio's media streams: authenticates, binds to the call, pumps messages.

    upgrade: signature ─▶ accept ─▶ `connected` ─▶ `start`: token, call SID ─▶ bind ─▶ pump … close

Errors here end the stream, never the call: Twilio then asks for TwiML again.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket
from loguru import logger
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from agent.lifecycle.events import StreamEnded, StreamStarted
from agent.record.call_log import DatabaseUnavailable, NoSuchCall
from agent.record.models import Call
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.twilio_serializer import Connected, Start, StreamError, decode
from server.calls.call_registry import ConversationOver
from server.http.serving import MESSAGE_LIMIT_BYTES
from server.resources import Opened, Resources
from server.twilio.media_websocket import DIRECT_SOCKET, SLOW_READER, MediaWebSocketProtocol
from server.twilio.stream_tokens import TokenRefused

HANDSHAKE_TIMEOUT_SECS = 10.0
# Twilio sends 50 messages a second; ten times that for some seconds is a flood.
FLOOD_WINDOW_SECS = 5.0
FLOOD_MESSAGES = 50 * 10 * 5
BAD_MESSAGES = 100
# A socket delivers all that it has read at once; after so many messages, yield to other tasks.
AT_A_TIME = 8

# The close reason for the peer, by the reason that the metric counts.
CLOSE_REASONS = {
    "late_start": "`connected` and `start` did not come in time",
    "no_connected": "the first message must be `connected`",
    "no_start": "the second message must be `start`",
    "bad_start": "the stream begins with what is no message of a media stream",
    "token": "the token is missing, forged, for another call, or too old",
    "token_used": "the token was used before",
    "unknown_call": "there is no such call",
    "call_sid": "the call has another CallSid",
    "call_over": "the call has ended",
    "conversation_over": "the conversation has ended",
    "flood": "messages come far faster than a telephone sends them",
    "bad_messages": "too many messages made no sense",
    "binary_message": "messages must be text",
    "message_too_big": "a message is larger than 64 kB",
    "failed": "something went wrong on our side",
}

POLICY = 1008
TOO_BIG = 1009
UNACCEPTABLE = 1003
INTERNAL = 1011
# Close codes of the protocol layer, which has closed the socket already.
CLOSED_BELOW = {1007: "not_utf8", TOO_BIG: "message_too_big", SLOW_READER: "slow_reader"}

MEDIA_PATH = "/twilio/media/{call_id}"

router = APIRouter()


class Refused(Exception):
    """The stream is refused or ended; `code` and CLOSE_REASONS close the WebSocket."""

    def __init__(self, reason: str, code: int = POLICY) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TwilioSocket:
    """`MediaStream` over a WebSocket."""

    def __init__(
        self,
        websocket: WebSocket,
        stream_sid: str,
        holds: Callable[[], bool] = lambda: True,
    ) -> None:
        """`holds`: the call is still this instance's; it is silent otherwise."""
        self._holds = holds
        self._websocket = websocket
        self._direct: MediaWebSocketProtocol = websocket.scope["extensions"][DIRECT_SOCKET]
        self._stream_sid = stream_sid
        # Messages that wait while the peer does not read, and the lock that keeps their order.
        self._behind = 0
        self._turn = asyncio.Lock()

    @property
    def stream_sid(self) -> str:
        """Twilio's StreamSid."""
        return self._stream_sid

    async def send(self, *texts: str) -> None:
        """Send messages, behind all that wait; a closed socket drops them."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        if not self._holds():
            return
        if not self._behind and self._direct.send_now(*texts):
            return
        self._behind += 1
        try:
            async with self._turn:
                for text in texts:
                    await self._websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError):
            logger.debug("A message was dropped: its stream is closed")
        finally:
            self._behind -= 1

    async def close(self) -> None:
        """Close the socket behind all that waits; Twilio continues with its TwiML."""
        async with self._turn:
            await _close(self._websocket, 1000)


@dataclass
class MessageLimits:
    """Limits one stream's message rate and bad messages; `now` in seconds of the loop's clock."""

    window_from: float
    in_window: int = 0
    bad: int = 0

    def take(self, now: float) -> None:
        """Count a message. Raises: Refused when they come too fast."""
        if now - self.window_from >= FLOOD_WINDOW_SECS:
            self.window_from = now
            self.in_window = 0
        self.in_window += 1
        if self.in_window > FLOOD_MESSAGES:
            raise Refused("flood")

    def take_bad(self) -> None:
        """Count a bad message. Raises: Refused when there were too many."""
        self.bad += 1
        if self.bad > BAD_MESSAGES:
            raise Refused("bad_messages", UNACCEPTABLE)


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
    with logger.contextualize(call_id=call_id):
        try:
            await _serve(websocket, call_id, opened)
        except Refused as refusal:
            opened.metrics.rejected.labels(f"stream_{refusal.reason}").inc()
            logger.warning("A media stream was refused", reason=refusal.reason)
            await _close(websocket, refusal.code, CLOSE_REASONS.get(refusal.reason, ""))
        except WebSocketDisconnect:
            logger.debug("A media stream closed during its handshake")
        except Exception:
            opened.metrics.rejected.labels("stream_failed").inc()
            logger.exception("A media stream failed")
            await _close(websocket, INTERNAL, CLOSE_REASONS["failed"])


async def _serve(websocket: WebSocket, call_id: str, opened: Resources) -> None:
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECS):
            start = await _handshake(websocket)
            call = await _admit(start, call_id, opened)
    except TimeoutError:
        raise Refused("late_start") from None
    leases = opened.leases
    stream = (
        TwilioSocket(websocket, start.stream_sid)
        if leases is None
        else TwilioSocket(websocket, start.stream_sid, partial(leases.holds, call_id))
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    started = StreamStarted(opened.clock(), start.stream_sid, opened.registry.instance)
    try:
        line = await opened.registry.carry(call, stream)
    except ConversationOver:
        raise Refused("conversation_over") from None
    # In a task of its own, so that the audio does not wait for the database.
    telling = asyncio.create_task(_tell(opened, call_id, started))
    # In a task of its own: otherwise each message would resume all ASGI layers around this.
    pumping = asyncio.create_task(_pump(websocket, line, opened, call_id), name="media")
    try:
        await pumping
    finally:
        line.unbind(stream)
        await telling
        carried_secs = round(loop.time() - began, 3)
        ended = StreamEnded(opened.clock(), start.stream_sid, carried_secs)
        await _tell(opened, call_id, ended)


async def _tell(opened: Resources, call_id: str, event: StreamStarted | StreamEnded) -> None:
    try:
        await opened.life.tell(call_id, event)
    except DatabaseUnavailable:
        opened.life.tell_later(call_id, event)
    except Exception:
        logger.exception("The start or end of a media stream could not be stored")


async def _handshake(websocket: WebSocket) -> Start:
    try:
        if not isinstance(decode(await _next_text(websocket)), Connected):
            raise Refused("no_connected")
        start = decode(await _next_text(websocket))
    except StreamError:
        raise Refused("bad_start", UNACCEPTABLE) from None
    if not isinstance(start, Start):
        raise Refused("no_start")
    return start


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


async def _pump(websocket: WebSocket, line: PhoneLine, opened: Resources, call_id: str) -> None:
    clock = asyncio.get_running_loop().time
    limits = MessageLimits(window_from=clock())
    direct: MediaWebSocketProtocol = websocket.scope["extensions"][DIRECT_SOCKET]
    receive = direct.receive
    try:
        going = True
        while going:
            text = _text_of(await receive())
            limits.take(clock())
            if limits.in_window % AT_A_TIME == 0:
                await asyncio.sleep(0)
            try:
                going = await line.receive(text)
            except StreamError as error:
                opened.metrics.bad_messages.inc()
                if not limits.bad:
                    _note_bad_message(opened, call_id, error)
                limits.take_bad()
    except WebSocketDisconnect:
        return
    await _close(websocket, 1000)


def _note_bad_message(opened: Resources, call_id: str, error: StreamError) -> None:
    # Logged once for each stream; all are counted.
    detail = {"error": str(error)[:200]}
    opened.records.recorder(call_id).event("stream.bad_message", detail)
    logger.warning("A media stream sent a bad message")


async def _next_text(websocket: WebSocket) -> str:
    return _text_of(await websocket.receive())


def _text_of(message: Mapping[str, Any]) -> str:
    if message["type"] == "websocket.disconnect":
        code = message.get("code", 1005)
        if code in CLOSED_BELOW:
            raise Refused(CLOSED_BELOW[code], code)
        raise WebSocketDisconnect(code)
    text: str | None = message.get("text")
    if text is None:
        raise Refused("binary_message", UNACCEPTABLE)
    if len(text) > MESSAGE_LIMIT_BYTES:
        raise Refused("message_too_big", TOO_BIG)
    return text


async def _close(websocket: WebSocket, code: int, reason: str = "") -> None:
    if websocket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        await websocket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):
        logger.debug("A media stream was already closed by the peer")
