"""Encodes entries of a tape as one compressed block, and back, without loss.

Each property of the entries is a column; audio is taken out of its messages, and compressed by
kind. What is compressed is made of whole columns, so that little is done for each entry:

    lengths | text: contents as JSON, and the text around audio | numbers: times, kinds, wires,
    sizes of audio | mu-law in | mu-law out | PCM16

Of the audio that was sent to Gemini, which is the caller's own at another rate, only the length and
a checksum of each packet are kept.
"""

import json
import struct
import zlib
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.recording.tape import AroundAudio, Entry, Kind, TapedMessage, is_canonical
from server.cassettes.audio_planes import (
    pack_mulaw,
    pack_pcm,
    pack_text,
    unpack_bytes,
    unpack_mulaw,
    unpack_pcm,
)

_LENGTHS, _COUNTS = struct.Struct(">5I"), struct.Struct("<2I")
_MICROSECONDS = 1_000_000
# Messages with less base64 are stored as text.
_LEAST_BASE64 = 64
_URL_SAFE_BACK = bytes.maketrans(b"-_", b"+/")

# Kinds as plain numbers: comparing members of an enum is slow.
_PHONE_IN, _PHONE_OUT = int(Kind.PHONE_IN), int(Kind.PHONE_OUT)
_MODEL_IN, _MODEL_OUT = int(Kind.MODEL_IN), int(Kind.MODEL_OUT)
_MODEL_HEARS, _GREETING = int(Kind.MODEL_HEARS), int(Kind.GREETING)
# Which plane holds the audio of a kind.
_PLANES = {_PHONE_IN: 0, _PHONE_OUT: 1, _MODEL_IN: 2, _GREETING: 2}
_WITH_AUDIO = (_PHONE_IN, _PHONE_OUT, _MODEL_IN)
# Added to the kind of a message whose audio is in a plane.
_PARTED = 0x40


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


def encode(entries: Sequence[Entry], began: float) -> bytes:
    """One block of these entries; `began` is the start of the cassette on their clock."""
    columns = _Columns()
    add = columns.add
    forms = bytes([add(kind, content) for _, kind, _, content in entries])
    packed = [
        pack_text(columns.text()),
        pack_text(_numbers(entries, forms, columns.sizes, began)),
        *(pack_mulaw(b"".join(plane)) for plane in columns.planes[:2]),
        pack_pcm(b"".join(columns.planes[2])),
    ]
    return _LENGTHS.pack(*map(len, packed)) + b"".join(packed)


def decode(block: bytes) -> list[Message]:
    """The messages of a block. Raises: Unreadable."""
    try:
        return list(_messages(block))
    except (struct.error, zlib.error, ValueError, IndexError, TypeError, KeyError) as error:
        raise Unreadable(str(error)) from None
    except StopIteration:
        raise Unreadable("a column ends early") from None


class _Columns:
    """What the entries of a block hold, by column."""

    def __init__(self) -> None:
        self.contents: list[Any] = []
        # The text before and behind audio, each once, with its number.
        self._around: dict[tuple[str, str], int] = {}
        self.planes: tuple[list[bytes], ...] = ([], [], [])
        # Of a parted message, the number of what is around it, and its size; of what Gemini
        # heard, its size and CRC-32; of a greeting, its size.
        self.sizes = array("I")

    def add(self, kind: int, content: Any) -> int:
        """Add an entry; returns the number of its form."""
        sizes = self.sizes
        if kind == _MODEL_HEARS:
            sizes.append(len(content))
            sizes.append(zlib.crc32(content))
        elif kind in _WITH_AUDIO:
            parted = _parted(kind, content)
            if not isinstance(parted, str):
                before, audio, behind = parted
                numbers = self._around
                sizes.append(numbers.setdefault((before, behind), len(numbers)))
                sizes.append(len(audio))
                self.planes[_PLANES[kind]].append(audio)
                return kind | _PARTED
            self.contents.append(parted)
        elif kind == _MODEL_OUT:
            text = content if isinstance(content, str) else bytes(content).decode()
            if (sent := _sent_sound(text)) is not None:
                sizes.extend((len(sent), zlib.crc32(sent)))
                return _MODEL_HEARS
            self.contents.append(text)
        elif kind == _GREETING:
            sizes.append(len(content))
            self.planes[2].append(content)
        else:
            self.contents.append(content)
        return kind

    def text(self) -> bytes:
        """Contents, and what is around audio, as JSON."""
        written = [self.contents, list(self._around)]
        return json.dumps(written, separators=(",", ":"), default=str).encode()


def _numbers(entries: Sequence[Entry], forms: bytes, sizes: "array[int]", began: float) -> bytes:
    """The columns of numbers, behind the counts of the first and of the last."""
    times = np.array([entry[0] for entry in entries])
    at = np.rint((times - began) * _MICROSECONDS).astype("<i8")
    at[1:] -= at[:-1].copy()
    wires = array("I", [entry[2] for entry in entries])
    return b"".join(
        (
            _COUNTS.pack(len(entries), len(sizes)),
            at.view(np.uint8).reshape(-1, 8).T.tobytes(),  # most of these bytes are 0
            forms,
            np.frombuffer(wires, np.uintc).astype("<u4", copy=False).tobytes(),
            np.frombuffer(sizes, np.uintc).astype("<u4", copy=False).tobytes(),
        )
    )


def _messages(block: bytes) -> Iterator[Message]:
    lengths = _LENGTHS.unpack_from(block)
    parts, start = [], _LENGTHS.size
    for length in lengths:
        parts.append(block[start : start + length])
        start += length
    contents, around = json.loads(unpack_bytes(parts[0]))
    times, forms, wires, sizes = _read_numbers(unpack_bytes(parts[1]))
    planes = [_Plane(unpack_mulaw(parts[2])), _Plane(unpack_mulaw(parts[3]))]
    planes.append(_Plane(unpack_pcm(parts[4])))
    left, size = iter(contents), iter(sizes)
    for at, form, wire in zip(times, forms, wires, strict=True):
        kind = form & ~_PARTED
        content: Any
        if form & _PARTED:
            before, behind = around[next(size)]
            audio = planes[_PLANES[kind]].next(next(size))
            content = before + b2a_base64(audio, newline=False).decode() + behind
        elif kind == _MODEL_HEARS:
            content = SentSound(next(size), next(size))
        elif kind == _GREETING:
            content = planes[2].next(next(size))
        else:
            content = next(left)
        yield Message(at / _MICROSECONDS, Kind(kind), wire, content)


class _Plane:
    def __init__(self, audio: bytes) -> None:
        self._audio, self._at = audio, 0

    def next(self, length: int) -> bytes:
        audio = self._audio[self._at : self._at + length]
        if len(audio) != length:
            raise ValueError("audio is missing")
        self._at += length
        return audio


def _read_numbers(numbers: bytes) -> tuple[list[int], bytes, list[int], list[int]]:
    count, sizes = _COUNTS.unpack_from(numbers)
    ends = np.cumsum([8, 8 * count, count, 4 * count, 4 * sizes]).tolist()
    if len(numbers) != ends[-1]:
        raise ValueError("numbers are missing")
    planes = np.frombuffer(numbers, np.uint8, 8 * count, ends[0]).reshape(8, count)
    times = np.cumsum(np.ascontiguousarray(planes.T).view("<i8").ravel())
    wires = np.frombuffer(numbers, "<u4", count, ends[2])
    read = np.frombuffer(numbers, "<u4", sizes, ends[3])
    return times.tolist(), numbers[ends[1] : ends[2]], wires.tolist(), read.tolist()


def _parted(kind: int, content: Any) -> AroundAudio | str:
    """A message's audio and the text around it; the whole text when it has none to take out."""
    if isinstance(content, TapedMessage):
        content = content.content
    if isinstance(content, tuple):
        before, audio, behind = content
        return before, audio, behind
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    key = '"data"' if kind == _MODEL_IN else '"payload"'
    start = text.find('"', text.find(key) + len(key)) + 1
    end = text.find('"', start)
    if key not in text or end - start < _LEAST_BASE64 or not is_canonical(text[end - 3 : end]):
        return text
    try:
        return text[:start], a2b_base64(text[start:end], strict_mode=True), text[end:]
    except ValueError:
        return text


def _sent_sound(text: str) -> bytes | None:
    """The PCM16 of a message of audio to Gemini that went the SDK's way."""
    if not text.startswith('{"realtime_input": {"audio":'):
        return None
    try:
        written = json.loads(text)["realtime_input"]["audio"]["data"]
        return a2b_base64(written.encode().translate(_URL_SAFE_BACK))
    except (ValueError, KeyError, TypeError):
        return None
