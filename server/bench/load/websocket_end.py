"""One end of a WebSocket on asyncio's transport: the protocol is websockets' own, without I/O.

A load has thousands of connections' messages a second: this has no queue, task or timer of its own.
"""

import asyncio
import audioop
from abc import ABC, abstractmethod
from time import monotonic
from typing import cast

from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State

# What reading another side's messages, JSON, base64 or audio may raise.
_NONSENSE = (InvalidHandshake, ValueError, LookupError, TypeError, AttributeError, audioop.error)


class WebSocketEnd(asyncio.Protocol, ABC):
    """The handshake first, then message by message. Messages come whole, in one frame each."""

    transport: asyncio.Transport

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done and nobody has closed the connection."""
        return self.protocol.state is State.OPEN and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other side is connected."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the other side."""
        at = monotonic()
        protocol = self.protocol
        protocol.receive_data(data)
        try:
            for event in protocol.events_received():
                if not isinstance(event, Frame):
                    self.shake_hands(event)
                elif not event.fin:
                    raise ValueError("a message in pieces")
                elif event.opcode in (Opcode.TEXT, Opcode.BINARY):
                    self.take(bytes(event.data), at)
                elif event.opcode is Opcode.CLOSE:
                    self.closed()
            if problem := protocol.handshake_exc or protocol.parser_exc:
                self.wrong(f"no WebSocket: {problem}")
        except _NONSENSE as problem:
            self.wrong(f"a message made no sense: {problem!r}")
        self.flush()

    def flush(self) -> None:
        """Send what the protocol has to send."""
        for data in self.protocol.data_to_send():
            self.transport.write(data)

    @abstractmethod
    def shake_hands(self, head: Request | Response) -> None:
        """The other side's request, or its response."""

    @abstractmethod
    def take(self, payload: bytes, at: float) -> None:
        """A message, at a moment of the monotonic clock; may raise what bad JSON raises."""

    @abstractmethod
    def closed(self) -> None:
        """The other side closes the WebSocket."""

    @abstractmethod
    def wrong(self, problem: str) -> None:
        """The other side did what it must not: note it and end the connection."""
