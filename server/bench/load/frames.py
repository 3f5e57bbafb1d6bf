"""WebSocket frames for both sides of a connection, read cheaply enough for a load generator.

Only what a load needs: messages in one frame, text or binary, no extensions.

Source: RFC 6455, https://www.rfc-editor.org/rfc/rfc6455#section-5
"""

import asyncio
import audioop
from abc import ABC, abstractmethod
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple, cast

from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]

_FIN = _MASKED = 0x80
_HEAD_WITHIN_BYTES = 16_384


class FrameError(Exception):
    """The other side sent what is not in this subset of the protocol."""


class Received(NamedTuple):
    """One whole frame, unmasked."""

    opcode: int
    payload: bytes


class FrameReader:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[Received]:
        """Every frame that is complete now. Raises: FrameError for a message in pieces."""
        if self._left:
            data = self._left + data
        at = 0
        end = len(data)
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            if not first & _FIN:
                raise FrameError("a message in pieces")
            start = at + 2
            length = second & 0x7F
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start])
            mask = b""
            if second & _MASKED:
                mask = data[start : start + 4]
                start += 4
            stop = start + length
            if end < stop or end < start:
                break
            payload = data[start:stop]
            at = stop
            yield Received(first & 0x0F, apply_mask(payload, mask) if mask else payload)
        self._left = data[at:]


# What reading another side's frame, JSON, base64 or audio may raise.
_NONSENSE = (FrameError, ValueError, LookupError, TypeError, AttributeError, audioop.error)


class WebSocketEnd(asyncio.Protocol, ABC):
    """One end of a WebSocket: the head of the HTTP handshake first, then message by message.

    `masks`: this end is the client.
    """

    transport: asyncio.Transport

    def __init__(self, *, masks: bool) -> None:
        self._masks = masks
        self._head = b""
        self._reader: FrameReader | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has closed the connection."""
        return self._reader is not None and not self.transport.is_closing()

    def send(self, opcode: Opcode, payload: bytes) -> None:
        """Send one frame."""
        self.transport.write(Frame(opcode, payload).serialize(mask=self._masks))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other side is connected."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the other side."""
        at = monotonic()
        try:
            if self._reader is None:
                self._head += data
                head, end, data = self._head.partition(b"\r\n\r\n")
                if len(head) > _HEAD_WITHIN_BYTES:
                    raise FrameError("a head that does not end")
                if not end:
                    return
                self._reader = FrameReader()
                self.shake_hands(head)
            for received in self._reader.feed(data):
                if received.opcode in (Opcode.TEXT, Opcode.BINARY):
                    self.take(received.payload, at)
                elif received.opcode == Opcode.PING:
                    self.send(Opcode.PONG, received.payload)
                elif received.opcode == Opcode.CLOSE:
                    self.closed(received.payload)
        except _NONSENSE as problem:
            self.wrong(f"a message made no sense: {problem!r}")

    @abstractmethod
    def shake_hands(self, head: bytes) -> None:
        """The other side's request or response, without its last empty line."""

    @abstractmethod
    def take(self, payload: bytes, at: float) -> None:
        """A message, at a moment of the monotonic clock; may raise what bad JSON raises."""

    @abstractmethod
    def closed(self, reason: bytes) -> None:
        """The other side closes the WebSocket."""

    @abstractmethod
    def wrong(self, problem: str) -> None:
        """The other side did what it must not: note it and end the connection."""
