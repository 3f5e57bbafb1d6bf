"""One WebSocket to a client: messages out, and the ways a connection goes wrong.

The real API sends its JSON in binary frames.
"""

import asyncio
import json
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from server.emulators.gemini_live import server_messages as messages
from server.emulators.gemini_live.session_log import Closed, SessionLog

# A control frame has at most 125 bytes (RFC 6455, 5.5); two of them are the code.
LONGEST_REASON_BYTES = 123
ABNORMAL = 1006
DEADLINE = 1011, "Deadline expired before operation could complete."


class Wire:
    """Sends and closes; notes all of it in the log. `consumed` counts the client's messages."""

    def __init__(self, websocket: ServerConnection, log: SessionLog) -> None:
        self._websocket = websocket
        self._log = log
        self._stalled = False
        # Set while messages go out; a frozen wire keeps them.
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._ending: asyncio.Task[None] | None = None
        self.tells_consumed = False
        self.consumed = 0

    async def send(self, message: messages.Message) -> None:
        """Send a message; a stalled wire swallows it.

        Raises: ConnectionClosed.
        """
        await self._thawed.wait()
        if self._stalled:
            return
        kind, logged, audio_bytes = _logged(message)
        self._log.note("out", kind, logged, audio_bytes)
        await self._websocket.send(json.dumps(message).encode())

    async def send_text(self, text: str, *, text_frame: bool = False) -> None:
        """Send characters that need be no message.

        Raises: ConnectionClosed.
        """
        if not self._stalled:
            self._log.note("out", "garbage", text)
            await self._websocket.send(text if text_frame else text.encode())

    async def send_value(self, message: Any, *, text_frame: bool = False) -> None:
        """Send any JSON value.

        Raises: ConnectionClosed.
        """
        if not self._stalled:
            self._log.note("out", "sent", message)
            text = json.dumps(message)
            await self._websocket.send(text if text_frame else text.encode())

    async def send_resumption(self, handle: str | None) -> None:
        """Tell how to resume; None: not now."""
        consumed = self.consumed if self.tells_consumed else None
        await self.send(messages.resumption_update(handle, consumed))

    async def go_away(self, time_left_secs: float) -> None:
        """Announce the end, and bring it when the time is over."""
        await self.send(messages.go_away(time_left_secs))
        self._ending = asyncio.create_task(self._end_after(time_left_secs))

    async def drop(self, code: int | None, reason: str = "") -> None:
        """Close with a code; None tears the connection down without a close frame."""
        if self._log.closed is None:
            self._log.closed = Closed(ABNORMAL if code is None else code, reason, "emulator")
            self._log.note("note", "closed", reason)
        if code is None:
            self._websocket.transport.abort()
            return
        short = reason.encode()[:LONGEST_REASON_BYTES].decode(errors="ignore")
        await self._websocket.close(code, short)

    def stall(self) -> None:
        """Say nothing from now on; the connection stays open."""
        self._stalled = True
        self._log.note("note", "stalled")

    def freeze(self, secs: float) -> None:
        """Send nothing for a while; what is said meanwhile goes out late."""
        self._thawed.clear()
        self._log.note("note", "frozen")
        asyncio.get_running_loop().call_later(secs, self._thawed.set)

    def forget_end(self) -> None:
        """The end that was announced is not needed any more."""
        if self._ending is not None:
            self._ending.cancel()

    def closed_by_client(self, closed: ConnectionClosed) -> None:
        """The client went, or the network did."""
        if self._log.closed is None:
            frame = closed.rcvd
            self._log.closed = Closed(
                frame.code if frame else ABNORMAL, frame.reason if frame else "", "client"
            )
            self._log.note("note", "closed")

    async def _end_after(self, secs: float) -> None:
        await asyncio.sleep(secs)
        await self.drop(*DEADLINE)


def _logged(message: messages.Message) -> tuple[str, Any, int]:
    kind = next(iter(message))
    content = message[kind]
    if kind == "serverContent":
        turn = content.get("modelTurn")
        if turn is not None:
            data = [part["inlineData"]["data"] for part in turn["parts"]]
            return "audio", None, sum(len(part) * 3 // 4 - part.count("=") for part in data)
        return next(iter(content)), message, 0
    return kind, content, 0
