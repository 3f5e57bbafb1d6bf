"""Writes the files of cassettes: blocking functions for one writer thread."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.recording.tape import Entry
from server.cassettes.blocks import BlockKind, CassetteError, Cipher, blocks, first_line, framed
from server.cassettes.columns import encode


@dataclass(slots=True)
class CassetteFile:
    """The file of one call's cassette. A file that another process began is continued.

    Every method may raise OSError, and CassetteError for a file that is none of ours.
    """

    path: Path
    head: Mapping[str, Any]
    began: float
    cipher: Cipher | None
    most_bytes: int
    # The length of the file, which is whole up to there.
    size: int = 0
    _file: int | None = None
    _blocks: int = 0
    _is_erased: bool = False

    @property
    def is_full(self) -> bool:
        """Whether it has reached its longest."""
        return self.size >= self.most_bytes

    def append(self, entries: Sequence[Entry]) -> int:
        """Write these entries; return how many bytes the file has grown by: 0 once it is erased."""
        if self._is_erased:
            return 0
        before = self.size
        if self._file is None:
            self._open()
        if not self.is_full:
            self._write(BlockKind.MESSAGES, encode(entries, self.began))
        return self.size - before

    def end(self, end: Mapping[str, Any]) -> None:
        """Write how the call ended, and close."""
        if self._is_erased:
            return
        if self._file is None:
            self._open()
        self._write(BlockKind.END, json.dumps(end).encode())
        self.close()

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def erase(self) -> None:
        """Close and delete the file, if there is one; nothing is written any more."""
        self._is_erased = True
        self.close()
        self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o600)
        is_new = not self.size
        if is_new and os.fstat(self._file).st_size:
            self._find_end()
        elif is_new:
            self._append(first_line())
        if is_new:
            self._write(BlockKind.HEAD, json.dumps(self.head, default=str).encode())

    def _find_end(self) -> None:
        """Go on behind the last whole block."""
        self.size = len(first_line())
        key = None if self.cipher is None else self.cipher.key
        for number, block in enumerate(blocks(self.path, key)):
            self._blocks, self.size = number + 1, block.ends_at
        assert self._file is not None
        os.ftruncate(self._file, self.size)

    def _write(self, kind: BlockKind, block: bytes) -> None:
        self._append(framed(kind, block, self._blocks, self.cipher))
        self._blocks += 1

    def _append(self, content: bytes) -> None:
        assert self._file is not None
        left, at = memoryview(content), self.size
        try:
            while left:
                written = os.pwrite(self._file, left, at)
                left, at = left[written:], at + written
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size = at


@dataclass(frozen=True, slots=True)
class Job:
    """Entries to write; `end`: how the call ended, once that is known; `last`: close the file."""

    file: CassetteFile
    entries: Sequence[Entry]
    last: bool = False
    end: Mapping[str, Any] | None = None


Written = int | OSError | CassetteError


def write(jobs: list[Job]) -> list[Written]:
    """Do these jobs; return for each how many bytes its file has grown by, or the error."""
    return [_write(job) for job in jobs]


def _write(job: Job) -> Written:
    try:
        grown = job.file.append(job.entries) if job.entries else 0
        if job.end is not None:
            job.file.end(job.end)
        elif job.last:
            job.file.close()
    except (OSError, CassetteError) as error:
        job.file.close()
        return error
    except Exception as error:
        # What a step or a tool of somebody's own records may be anything.
        job.file.close()
        return CassetteError(f"its messages cannot be written: {type(error).__name__}")
    return grown
