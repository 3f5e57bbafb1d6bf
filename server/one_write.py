"""An answer in one write: its head is held until the first of its body comes.

    uvicorn writes          head, body …     each a system call
    the transport is given  head + body …

Two heads go at once: an interim one, which the client's body waits for, and that of an answer
without a length, whose body may be long in coming. An answer to HEAD, which has no body, is not
for here.
"""

import asyncio

_INTERIM = b"HTTP/1.1 1"
_NO_LENGTH = b"\r\ntransfer-encoding: chunked\r\n\r\n"


class OneWrite(asyncio.Transport):
    """What answers are written to, one behind the other, in place of the connection's transport.

    It has what uvicorn's `RequestResponseCycle` uses of one.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""
        self._is_in_body = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold a head; write all else at once, behind it."""
        if not self._is_in_body and data[: len(_INTERIM)] != _INTERIM:
            self._is_in_body = True
            self._head = bytes(data)
            if self._head.endswith(_NO_LENGTH):
                self._let_go()
        else:
            self._transport.write(self._head + data if self._head else data)
            self._head = b""

    def end_answer(self) -> None:
        """All of an answer is written: what comes now is of another."""
        self._is_in_body = False

    def close(self) -> None:
        """Close the connection, behind all that was written."""
        # uvloop's raises for what is written once it is closed.
        if not self._transport.is_closing():
            self._let_go()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closing, or closed."""
        return self._transport.is_closing()

    def _let_go(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
