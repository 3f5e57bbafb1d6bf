"""WebSocket frames that are whole messages: parsed and encoded without a state machine.

Nearly all frames are one whole message. `FrameCutter` cuts these out of the byte stream. It leaves
everything else (fragments, control frames, protocol errors, incomplete frames) to websockets, whose
parser always stands between two frames.

    bytes    |head|payload|head|payload|head|pay      load|head|payload|
    cut       message      other        other ············ message

Source: RFC 6455, section 5.2, https://www.rfc-editor.org/rfc/rfc6455#section-5.2
"""

import os
from typing import NamedTuple

from websockets.frames import apply_mask  # type: ignore[attr-defined]

# The first byte of a frame that is a whole message: FIN, no extension, the opcode.
TEXT, BINARY = 0x81, 0x82
OTHER = 0
# More fragments than this are refused.
MOST_FRAGMENTS = 1000
_MASKED = 0x80
_MASK_BYTES = 4


class Piece(NamedTuple):
    """A part of the stream: a whole message, or bytes for websockets' parser.

    `kind` is TEXT, BINARY or OTHER; `payload`, without its mask, is empty for OTHER.
    """

    kind: int
    payload: bytes
    raw: bytes


class FrameCutter:
    """Cuts the byte stream of one connection, from the first frame on.

    `masked`: frames are masked, as a client's must be. A message over `most_bytes` is OTHER.
    """

    __slots__ = ("_head", "_masked", "_most_bytes", "_rest_bytes")

    def __init__(self, *, masked: bool, most_bytes: int) -> None:
        self._masked = masked
        self._most_bytes = most_bytes
        # The start of a frame whose length is not known yet.
        self._head = b""
        # Bytes still to come of a frame whose first bytes were passed on as OTHER.
        self._rest_bytes = 0

    def let_go(self) -> bytes | None:
        """The start of a head, which no piece has; None in the middle of a frame."""
        if self._rest_bytes:
            return None
        head, self._head = self._head, b""
        return head

    def cut(self, data: bytes) -> list[Piece]:
        """Cut `data` into pieces, in order; an incomplete head waits for the next call."""
        at = 0
        pieces: list[Piece] = []
        if self._rest_bytes:
            at = min(self._rest_bytes, len(data))
            self._rest_bytes -= at
            pieces.append(Piece(OTHER, b"", data[:at]))
        elif self._head:
            data, self._head = self._head + data, b""
        size = len(data)
        while at < size:
            begin, end = _payload_at(data, at)
            if begin > size:
                self._head = data[at:]
                break
            if end > size:
                self._rest_bytes = end - size
                pieces.append(Piece(OTHER, b"", data[at:]))
                break
            pieces.append(self._piece(data, at, begin, end))
            at = end
        return pieces

    def _piece(self, data: bytes, at: int, begin: int, end: int) -> Piece:
        kind, masked = data[at], data[at + 1] >= _MASKED
        raw = data[at:end]
        if kind not in (TEXT, BINARY) or masked != self._masked or end - begin > self._most_bytes:
            return Piece(OTHER, b"", raw)
        payload = data[begin:end]
        if masked:
            payload = apply_mask(payload, data[begin - _MASK_BYTES : begin])
        return Piece(kind, payload, raw)


def _payload_at(data: bytes, at: int) -> tuple[int, int]:
    """Start and end of the payload of the frame at `at`.

    Both are beyond the end of `data` when the head is incomplete.
    """
    nowhere = len(data) + 1
    if nowhere - at < 3:
        return nowhere, nowhere
    length = data[at + 1]
    begin = at + 2
    if length >= _MASKED:
        length -= _MASKED
        begin += _MASK_BYTES
    if length == 126:
        begin += 2
        if begin < nowhere:
            length = data[at + 2] << 8 | data[at + 3]
    elif length == 127:
        begin += 8
        if begin < nowhere:
            length = int.from_bytes(data[at + 2 : at + 10])
    return begin, begin + length


def text_frame(text: bytes) -> bytes:
    """Encode a server's text message as one frame."""
    return _head(len(text), 0) + text


def masked_text_frame(text: bytes) -> bytes:
    """Encode a client's text message as one frame, with a random mask (section 10.3)."""
    mask = os.urandom(_MASK_BYTES)
    return _head(len(text), _MASKED) + mask + apply_mask(text, mask)


def _head(length: int, masked: int) -> bytes:
    if length < 126:
        return bytes((TEXT, masked | length))
    if length < 1 << 16:
        return bytes((TEXT, masked | 126, length >> 8, length & 0xFF))
    return bytes((TEXT, masked | 127)) + length.to_bytes(8)
