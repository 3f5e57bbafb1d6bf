"""Client WebSocket with a fast path: whole messages bypass websockets' state machine.

`FrameCutter` cuts whole messages out of the byte stream; they wait in a queue for `recv`.
websockets handles handshake, control frames, fragments, protocol errors and close.

    bytes ─▶ FrameCutter ─┬─ whole message ──────────────────────────────▶ queue ─▶ recv
                          └─ all else ─▶ websockets ─▶ fragments joined ─▶ queue

Source: https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from pipelines.gemini.websocket_frames import (
    MOST_FRAGMENTS,
    OTHER,
    TEXT,
    FrameCutter,
    masked_text_frame,
)

_HEAD_ENDS = b"\r\n\r\n"
# Reading pauses above the first number of waiting messages, and resumes at the second.
MOST_UNREAD, FEW_UNREAD = 64, 16

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

T = TypeVar("T")


class FastClientConnection(ClientConnection):
    """`ClientConnection` for one reader of whole messages; `recv_streaming` does not work."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Received messages that wait for `recv`: (whether it is text, the message).
        self._unread: deque[tuple[bool, bytes]] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._stopped = False
        self._fragments: list[Frame] = []
        self._cutter: FrameCutter | None = None
        self._end_of_head = b""

    def on_message(self, message: bytes) -> None:
        """A whole message was received; it is read later."""

    @property
    def is_writable(self) -> bool:
        """Whether the socket is open, and takes more without waiting."""
        return not (
            self.paused or self.protocol.state is not State.OPEN or self.transport.is_closing()
        )

    def send_now(self, text: bytes) -> bool:
        """Send one text message at once; False when the socket is not open or not writable."""
        if self.paused or self.protocol.state is not State.OPEN or self.transport.is_closing():
            return False
        self.transport.write(masked_text_frame(text))
        return True

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message, as in websockets.

        Raises: websockets' ConnectionClosed after the last message, and for text that is no UTF-8,
        which closes the connection with 1007.
        """
        while not self._unread:
            if self.protocol.state is State.CLOSED:
                return await super().recv(decode)
            self._reader = self.loop.create_future()
            await self._reader
        is_text, message = self._unread.popleft()
        if self._stopped and len(self._unread) <= FEW_UNREAD:
            self._read_on()
        if not (is_text if decode is None else decode):
            return message
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            mistake = f"{error.reason} at position {error.start}"
        self._unread.clear()
        self._read_on()
        async with self.send_context():
            self.protocol.fail(CloseCode.INVALID_DATA, mistake)
        return await super().recv()  # raises ConnectionClosed

    def next_if(self, read: Callable[[bytes], T | None]) -> T | None:
        """Pass the next waiting message to `read`; it stays in the queue when that returns None."""
        if not self._unread or (content := read(self._unread[0][1])) is None:
            return None
        self._unread.popleft()
        return content

    async def close(self, code: CloseCode | int = 1000, reason: str = "") -> None:
        """Close the connection; waiting messages are dropped."""
        self._unread.clear()
        self._read_on()  # or the peer's close frame would not be read either
        await super().close(code, reason)

    def data_received(self, data: bytes) -> None:
        """Cut received bytes into messages."""
        if self._cutter is None:
            data = self._read_handshake(data)
        if self._cutter is None:
            return
        protocol = self.protocol
        for kind, payload, raw in self._cutter.cut(data):
            if kind == OTHER or protocol.state is not State.OPEN or self._fragments:
                super().data_received(raw)
            else:
                self._keep(kind == TEXT, payload)

    def process_event(self, event: Event) -> None:
        """Take an event that websockets parsed: the handshake, or a frame."""
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            return
        self._fragments.append(event)
        if event.fin:
            frames, self._fragments = self._fragments, []
            message = b"".join(frame.data for frame in frames)
            self._keep(frames[0].opcode is Opcode.TEXT, message)
        elif len(self._fragments) > MOST_FRAGMENTS:
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.send_data()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost: wake the reader."""
        super().connection_lost(exc)
        self._wake()

    def _read_handshake(self, data: bytes) -> bytes:
        """Pass the handshake response to websockets; return the bytes behind it."""
        seen = self._end_of_head + data
        end = seen.find(_HEAD_ENDS)
        if end < 0:
            self._end_of_head = seen[1 - len(_HEAD_ENDS) :]
            super().data_received(data)
            return b""
        split = end + len(_HEAD_ENDS) - len(self._end_of_head)
        self._end_of_head = b""
        super().data_received(data[:split])
        behind = data[split:]
        if self.protocol.state is State.OPEN:
            most_bytes = self.protocol.max_message_size
            self._cutter = FrameCutter(masked=False, most_bytes=most_bytes or 1 << 62)
        elif behind:
            super().data_received(behind)
        return behind

    def _keep(self, is_text: bool, message: bytes) -> None:
        if self.protocol.close_sent is not None:
            return  # this side has closed
        self.on_message(message)
        self._unread.append((is_text, message))
        self._wake()
        if len(self._unread) > MOST_UNREAD and not self._stopped:
            self._stopped = True
            self.transport.pause_reading()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _read_on(self) -> None:
        if self._stopped:
            self._stopped = False
            if self.protocol.state is not State.CLOSED:
                self.transport.resume_reading()
