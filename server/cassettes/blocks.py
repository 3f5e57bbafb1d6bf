"""File format of cassettes: a line, then blocks; a file that is cut off is whole up to there.

    voice-ai cassette 2\n | kind, length, CRC-32 | block | kind, length, CRC-32 | block | …

A block is the head of a recording (JSON), messages (`columns`), or the end (JSON). With a key, each
is encrypted by AES-GCM (NIST SP 800-38D): 12 random bytes, then the ciphertext, bound to the id of
the call and to the block's number, so that blocks cannot be moved.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

FORMAT = 2
FIRST_LINE = b"voice-ai cassette "
_FRAME = struct.Struct(">BII")
_NONCE_BYTES = 12
_ENCRYPTED = 0x80
# A block holds about a second; more than this is no block of ours.
MOST_BLOCK_BYTES = 64 * 1024 * 1024


class BlockKind(IntEnum):
    """What a block holds."""

    HEAD = 1
    MESSAGES = 2
    END = 3


class CassetteError(Exception):
    """A cassette that cannot be read; the text names the file and what was expected."""


class Locked(CassetteError):
    """A cassette that is encrypted, and the key is missing or another."""


@dataclass(frozen=True, slots=True)
class Cipher:
    """Encrypts and decrypts the blocks of one call's cassette."""

    key: bytes
    call_id: str

    def seal(self, block: bytes, number: int) -> bytes:
        """Encrypt the block with this number, from 0."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, block, self._bound_to(number))

    def open(self, sealed: bytes, number: int) -> bytes:
        """Decrypt a block. Raises: ValueError."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return AESGCM(self.key).decrypt(nonce, rest, self._bound_to(number))
        except InvalidTag:
            raise ValueError("another key") from None

    def _bound_to(self, number: int) -> bytes:
        return f"{self.call_id} {number}".encode()


def first_line() -> bytes:
    """What a file begins with."""
    return FIRST_LINE + str(FORMAT).encode() + b"\n"


def framed(kind: BlockKind, block: bytes, number: int, cipher: Cipher | None) -> bytes:
    """A block as it is written to a file."""
    if cipher is not None:
        block = cipher.seal(block, number)
    marked = kind | (_ENCRYPTED if cipher is not None else 0)
    return _FRAME.pack(marked, len(block), zlib.crc32(block)) + block


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block of a file, decrypted; `ends_at` is the length of the file up to its end."""

    kind: BlockKind
    content: bytes
    ends_at: int


def blocks(path: Path, key: bytes | None) -> Iterator[Block]:
    """The blocks of a file that are whole; it ends where the file was cut off.

    Raises: CassetteError when it is no cassette, of a newer version, or encrypted with another key;
    OSError.
    """
    written = path.read_bytes()
    at = _check_first_line(path, written)
    number = 0
    while at + _FRAME.size <= len(written):
        marked, length, crc = _FRAME.unpack_from(written, at)
        block = written[at + _FRAME.size : at + _FRAME.size + length]
        if length > MOST_BLOCK_BYTES or len(block) < length or zlib.crc32(block) != crc:
            return
        at += _FRAME.size + length
        try:
            kind = BlockKind(marked & ~_ENCRYPTED)
        except ValueError:
            return
        if marked & _ENCRYPTED:
            block = _decrypted(path, block, number, key)
        number += 1
        yield Block(kind, block, at)


def _check_first_line(path: Path, written: bytes) -> int:
    line, newline, _ = written[:64].partition(b"\n")
    version = line.removeprefix(FIRST_LINE)
    if not newline or version == line or not version.isdigit():
        raise CassetteError(f"{path}: expected a cassette of Voice AI, got another file")
    if int(version) > FORMAT:
        raise CassetteError(
            f"{path}: expected format {FORMAT}, got format {int(version)}: "
            "a newer version of Voice AI wrote it"
        )
    if int(version) < FORMAT:
        raise CassetteError(
            f"{path}: expected format {FORMAT}, got format {int(version)}: "
            "an older version of Voice AI wrote it, and this one cannot read it"
        )
    return len(line) + 1


def _decrypted(path: Path, block: bytes, number: int, key: bytes | None) -> bytes:
    if key is None:
        raise Locked(f"{path}: it is encrypted: set CASSETTE_KEY to the key it was written with")
    try:
        return Cipher(key, path.stem).open(block, number)
    except ValueError:
        raise Locked(
            f"{path}: it cannot be decrypted: CASSETTE_KEY is another key, or the file was renamed"
        ) from None
