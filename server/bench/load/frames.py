"""WebSocket frames for both sides of a connection, cheap enough for a load generator.

Only what a load needs: messages in one frame, text or binary, no extensions.

Source: RFC 6455, https://www.rfc-editor.org/rfc/rfc6455#section-5
"""

import asyncio
import audioop
import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import cast

from websockets.frames import apply_mask  # type: ignore[attr-defined]

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

_FIN = 0x80
_MASKED = 0x80
# A client has to mask what it sends. This mask changes nothing, and so costs the sender nothing;
# the receiver unmasks as ever.
_NO_CHANGE = bytes(4)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_WITHIN_BYTES = 16_384


class FrameError(Exception):
    """The other side sent what is not in this subset of the protocol."""


@dataclass(frozen=True, slots=True)
class Received:
    """One whole frame, unmasked."""

    opcode: int
    payload: bytes


def server_frame(opcode: int, payload: bytes) -> bytes:
    """What a server sends: not masked."""
    return _header(opcode, len(payload), 0) + payload


def client_frame(opcode: int, payload: bytes) -> bytes:
    """What a client sends: masked with zeros."""
    return _header(opcode, len(payload), _MASKED) + _NO_CHANGE + payload


def accept_of(key: bytes) -> bytes:
    """`Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


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
            if length == 126:
                start += 2
                length = int.from_bytes(data[at + 2 : start])
            elif length == 127:
                start += 8
                length = int.from_bytes(data[at + 2 : start])
            mask = b""
            if second & _MASKED:
                mask = data[start : start + 4]
                start += 4
            stop = start + length
            if end < stop or end < start:
                break
            payload = data[start:stop]
            if mask and mask != _NO_CHANGE:
                payload = apply_mask(payload, mask)
            at = stop
            yield Received(first & 0x0F, payload)
        self._left = data[at:]


# What reading another side's frame, JSON, base64 or audio may raise.
_NONSENSE = (FrameError, ValueError, LookupError, TypeError, AttributeError, audioop.error)


class WebSocketEnd(asyncio.Protocol, ABC):
    """One end of a WebSocket: the head of the HTTP handshake first, then message by message.

    `frame` makes the frames of this end: `client_frame` or `server_frame`.
    """

    transport: asyncio.Transport

    def __init__(self, frame: Callable[[int, bytes], bytes]) -> None:
        self.frame = frame
        self._head = b""
        self._reader: FrameReader | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has closed the connection."""
        return self._reader is not None and not self.transport.is_closing()

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
                if received.opcode in (TEXT, BINARY):
                    self.take(received.payload, at)
                elif received.opcode == PING:
                    self.transport.write(self.frame(PONG, received.payload))
                elif received.opcode == CLOSE:
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


def _header(opcode: int, length: int, masked: int) -> bytes:
    first = bytes((_FIN | opcode,))
    if length < 126:
        return first + bytes((masked | length,))
    if length < 65_536:
        return first + bytes((masked | 126,)) + length.to_bytes(2)
    return first + bytes((masked | 127,)) + length.to_bytes(8)
