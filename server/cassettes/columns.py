"""Encodes entries of a tape as one compressed block, and back, without loss.

Audio is taken out of its messages and stored apart, because it is compressed in another way:

    lengths | entries as JSON, each with the text around its audio | mu-law in | mu-law out | PCM16

Of the audio that was sent to Gemini, which is the caller's own at another rate, only the length and
a checksum of each packet are kept.
"""

import json
import struct
import zlib
from binascii import Error as BadBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.recording.tape import Entry, Kind
from server.cassettes.audio_planes import pack_bytes, pack_pcm, pack_text, unpack_bytes, unpack_pcm

_LENGTHS = struct.Struct(">4I")
_MICROSECONDS = 1_000_000
# Messages with less base64 are stored as text.
_LEAST_BASE64 = 64
_URL_SAFE_BACK = bytes.maketrans(b"-_", b"+/")


class Unreadable(ValueError):
    """A block that is not one of ours."""


@dataclass(frozen=True, slots=True)
class SentSound:
    """A packet of PCM16 that was sent to Gemini: its length in bytes, and its CRC-32."""

    length: int
    crc: int

    @classmethod
    def of(cls, pcm: bytes) -> "SentSound":
        """The packet `pcm`."""
        return cls(len(pcm), zlib.crc32(pcm))


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a cassette; `at` in seconds from its start.

    `content` is text, `SentSound` for MODEL_HEARS, bytes for GREETING, and (what, fields) for
    RECORD.
    """

    at: float
    kind: Kind
    wire: int
    content: Any


_PLANES = {Kind.PHONE_IN: 0, Kind.PHONE_OUT: 1, Kind.MODEL_IN: 2, Kind.GREETING: 2}


def encode(entries: Sequence[Entry], began: float) -> bytes:
    """One block of these entries; `began` is the start of the cassette on their clock."""
    rows: list[list[Any]] = []
    planes: tuple[list[bytes], ...] = ([], [], [])
    for at, number, wire, content in entries:
        kind = Kind(number)
        row: list[Any] = [round((at - began) * _MICROSECONDS), number, wire]
        if kind == Kind.MODEL_HEARS:
            row += [len(content), zlib.crc32(content)]
        elif kind in (Kind.PHONE_IN, Kind.PHONE_OUT, Kind.MODEL_IN):
            text = content if isinstance(content, str) else content.decode("utf-8", "replace")
            parted = _without_audio(text, "payload" if kind != Kind.MODEL_IN else "data")
            if parted is None:
                row.append(text)
            else:
                before, audio, behind = parted
                planes[_PLANES[kind]].append(audio)
                row += [before, behind, len(audio)]
        elif kind == Kind.GREETING:
            planes[2].append(content)
            row.append(len(content))
        elif kind == Kind.MODEL_OUT:
            text = content if isinstance(content, str) else bytes(content).decode()
            row += _sent_sound(text) or [text]
        else:
            row.append(content)
        rows.append(row)
    head = pack_text(json.dumps(rows, separators=(",", ":"), default=str).encode())
    packed = [
        head,
        pack_bytes(b"".join(planes[0])),
        pack_bytes(b"".join(planes[1])),
        pack_pcm(b"".join(planes[2])),
    ]
    return _LENGTHS.pack(*map(len, packed)) + b"".join(packed)


def decode(block: bytes) -> list[Message]:
    """The messages of a block. Raises: Unreadable."""
    try:
        rows, planes = _parts(block)
        return [_message(row, planes) for row in rows]
    except (struct.error, zlib.error, ValueError, IndexError, TypeError, KeyError) as error:
        raise Unreadable(str(error)) from None


class _Plane:
    def __init__(self, audio: bytes) -> None:
        self._audio, self._at = audio, 0

    def next(self, length: int) -> bytes:
        audio = self._audio[self._at : self._at + length]
        if len(audio) != length:
            raise ValueError("audio is missing")
        self._at += length
        return audio


def _parts(block: bytes) -> tuple[list[list[Any]], list[_Plane]]:
    lengths = _LENGTHS.unpack_from(block)
    parts, at = [], _LENGTHS.size
    for length in lengths:
        parts.append(block[at : at + length])
        at += length
    planes = [unpack_bytes(parts[1]), unpack_bytes(parts[2]), unpack_pcm(parts[3])]
    return json.loads(unpack_bytes(parts[0])), [_Plane(plane) for plane in planes]


def _message(row: list[Any], planes: list[_Plane]) -> Message:
    microseconds, number, wire, *rest = row
    kind = Kind(number)
    content: Any
    if kind is Kind.MODEL_HEARS or (kind is Kind.MODEL_OUT and len(rest) == 2):
        content, kind = SentSound(*rest), Kind.MODEL_HEARS
    elif kind is Kind.GREETING:
        content = planes[2].next(rest[0])
    elif kind in _PLANES and len(rest) == 3:
        audio = planes[_PLANES[kind]].next(rest[2])
        content = rest[0] + b2a_base64(audio, newline=False).decode() + rest[1]
    else:
        content = rest[0]
    return Message(microseconds / _MICROSECONDS, kind, wire, content)


def _without_audio(text: str, key: str) -> tuple[str, bytes, str] | None:
    """The text before and behind the one string of base64 named `key`, and its bytes."""
    name = text.find(f'"{key}"')
    if name < 0:
        return None
    start = text.find('"', name + len(key) + 2) + 1
    end = text.find('"', start)
    if start <= 0 or end - start < _LEAST_BASE64:
        return None
    written = text[start:end]
    try:
        audio = a2b_base64(written, strict_mode=True)
    except (BadBase64, ValueError):
        return None
    if b2a_base64(audio, newline=False).decode() != written:
        return None
    return text[:start], audio, text[end:]


def _sent_sound(text: str) -> list[int] | None:
    """The row of a message of audio to Gemini that went the SDK's way."""
    if not text.startswith('{"realtime_input": {"audio":'):
        return None
    try:
        written = json.loads(text)["realtime_input"]["audio"]["data"]
        pcm = a2b_base64(written.encode().translate(_URL_SAFE_BACK))
    except (ValueError, KeyError, TypeError):
        return None
    return [len(pcm), zlib.crc32(pcm)]
