"""A media stream that was admitted: bound to its call, and pumped until either side ends it.

Twilio's own streams (`twilio_media.py`) and those that another instance passes on (`relayed.py`)
are carried alike. Errors here end the stream, never the call: Twilio then asks for TwiML again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import WebSocket
from loguru import logger
from starlette.websockets import WebSocketDisconnect, WebSocketState

from agent.lifecycle.events import StreamEnded, StreamStarted
from agent.record.call_log import DatabaseUnavailable
from agent.record.models import Call
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.twilio_serializer import Start, StreamError, decode
from server.calls.call_registry import ConversationOver
from server.http.serving import MESSAGE_LIMIT_BYTES
from server.resources import Resources
from server.twilio.media_websocket import DIRECT_SOCKET, SLOW_READER, MediaWebSocketProtocol

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
            await close(self._websocket, 1000)


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


async def served(
    websocket: WebSocket, call_id: str, opened: Resources, serve: Awaitable[None]
) -> None:
    """Serve an accepted stream; what refuses or fails closes it, and is counted."""
    with logger.contextualize(call_id=call_id):
        try:
            await serve
        except Refused as refusal:
            opened.metrics.rejected.labels(f"stream_{refusal.reason}").inc()
            logger.warning("A media stream was refused", reason=refusal.reason)
            await close(websocket, refusal.code, CLOSE_REASONS.get(refusal.reason, ""))
        except WebSocketDisconnect:
            logger.debug("A media stream closed during its handshake")
        except Exception:
            opened.metrics.rejected.labels("stream_failed").inc()
            logger.exception("A media stream failed")
            await close(websocket, INTERNAL, CLOSE_REASONS["failed"])


async def next_start(websocket: WebSocket) -> tuple[Start, str]:
    """The next message, which has to be `start`: read, and as it came. Raises: Refused."""
    text = await next_text(websocket)
    try:
        start = decode(text)
    except StreamError:
        raise Refused("bad_start", UNACCEPTABLE) from None
    if not isinstance(start, Start):
        raise Refused("no_start")
    return start, text


async def carry(websocket: WebSocket, call: Call, stream_sid: str, opened: Resources) -> None:
    """Bind a stream to its call, and pump its messages until it ends.

    Raises: Refused.
    """
    leases = opened.leases
    stream = (
        TwilioSocket(websocket, stream_sid)
        if leases is None
        else TwilioSocket(websocket, stream_sid, partial(leases.holds, call.id))
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    started = StreamStarted(opened.clock(), stream_sid, opened.registry.instance)
    try:
        line = await opened.registry.carry(call, stream)
    except ConversationOver:
        raise Refused("conversation_over") from None
    # In a task of its own, so that the audio does not wait for the database.
    telling = asyncio.create_task(_tell(opened, call.id, started))
    # In a task of its own: otherwise each message would resume all ASGI layers around this.
    pumping = asyncio.create_task(_pump(websocket, line, opened, call.id), name="media")
    try:
        await pumping
    finally:
        line.unbind(stream)
        await telling
        carried_secs = round(loop.time() - began, 3)
        ended = StreamEnded(opened.clock(), stream_sid, carried_secs)
        await _tell(opened, call.id, ended)


async def _tell(opened: Resources, call_id: str, event: StreamStarted | StreamEnded) -> None:
    try:
        await opened.life.tell(call_id, event)
    except DatabaseUnavailable:
        opened.life.tell_later(call_id, event)
    except Exception:
        logger.exception("The start or end of a media stream could not be stored")


async def _pump(websocket: WebSocket, line: PhoneLine, opened: Resources, call_id: str) -> None:
    clock = asyncio.get_running_loop().time
    limits = MessageLimits(window_from=clock())
    direct: MediaWebSocketProtocol = websocket.scope["extensions"][DIRECT_SOCKET]
    receive = direct.receive
    try:
        going = True
        while going:
            text = text_of(await receive())
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
    await close(websocket, 1000)


def _note_bad_message(opened: Resources, call_id: str, error: StreamError) -> None:
    # Logged once for each stream; all are counted.
    detail = {"error": str(error)[:200]}
    opened.records.recorder(call_id).event("stream.bad_message", detail)
    logger.warning("A media stream sent a bad message")


async def next_text(websocket: WebSocket) -> str:
    """The next message during a handshake. Raises: as `text_of` does."""
    return text_of(await websocket.receive())


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a received message. Raises: WebSocketDisconnect; Refused when it is none."""
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


async def close(websocket: WebSocket, code: int, reason: str = "") -> None:
    """Close a stream that is still open."""
    if websocket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        await websocket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):
        logger.debug("A media stream was already closed by the peer")
