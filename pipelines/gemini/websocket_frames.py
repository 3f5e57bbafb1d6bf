"""WebSocket frames that are whole messages, read and written without a state machine.

Nearly all that comes is one frame, one message, and nothing to think about. `FrameCutter` finds
these in the stream of bytes. Whatever needs thought (fragments, control frames, mistakes, a frame
of which not all is there) is left to websockets, which always stands between two frames.

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
# More pieces than these are no message that anybody would cut up.
MOST_FRAGMENTS = 1000
_MASKED = 0x80
_MASK_BYTES = 4


class Piece(NamedTuple):
    """A part of the stream: a whole message, or bytes that somebody else has to read.

    `kind` is TEXT, BINARY or OTHER; `payload`, without its mask, is empty for OTHER.
    """

    kind: int
    payload: bytes
    raw: bytes


class FrameCutter:
    """Cuts what comes over one connection, from the first frame on.

    `masked`: as a client's frames have to be. A message of more than `most_bytes` is OTHER.
    """

    __slots__ = ("_head", "_masked", "_most_bytes", "_owed")

    def __init__(self, *, masked: bool, most_bytes: int) -> None:
        self._masked = masked
        self._most_bytes = most_bytes
        # The beginning of a frame that does not say yet how long it is.
        self._head = b""
        # So many bytes of a frame of which the rest is OTHER already are still to come.
        self._owed = 0

    def cut(self, data: bytes) -> list[Piece]:
        """All that is in `data`, in order; a head that is not all there waits for the next."""
        at = 0
        pieces: list[Piece] = []
        if self._owed:
            at = min(self._owed, len(data))
            self._owed -= at
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
                self._owed = end - size
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
    """Where the payload of the frame at `at` begins and ends.

    Both are behind the end of `data` when the head is not all there.
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
    """A text message from a server, in one frame."""
    return _head(len(text), 0) + text


def masked_text_frame(text: bytes) -> bytes:
    """A text message from a client, in one frame; the mask is random, as section 10.3 asks for."""
    mask = os.urandom(_MASK_BYTES)
    return _head(len(text), _MASKED) + mask + apply_mask(text, mask)


def _head(length: int, masked: int) -> bytes:
    if length < 126:
        return bytes((TEXT, masked | length))
    if length < 1 << 16:
        return bytes((TEXT, masked | 126, length >> 8, length & 0xFF))
    return bytes((TEXT, masked | 127)) + length.to_bytes(8)
