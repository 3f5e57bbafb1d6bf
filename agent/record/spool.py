"""RecordSpool: keeps rows of the record on disk while the database is away.

    database away ─▶ keep: rows that wait, as JSON lines ─┬─▶ database back ─▶ written, deleted
                                                          └─▶ the process dies ─▶ left over

What a dead process has left is written by the next one that starts with the same folder. The file
of a living process is locked. Rows are numbered by the process that has put them, and the database
knows how many of them it has: none is written again.
"""

import fcntl
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from loguru import logger

from agent.record.call_log import Row
from agent.record.models import CallEvent, TokenUsage, Turn

# What a file holds at most; what comes then waits in memory alone.
MOST_BYTES = 64 * 1024 * 1024
_SUFFIX = ".jsonl"
_MODELS: dict[str, type[Row]] = {model.__name__: model for model in (Turn, CallEvent, TokenUsage)}


class RecordSpool:
    """The rows of one process, in a file of its own. Blocks, but for `written`: for a thread.

    The rows hold what callers said: the file is the user's alone, as is the folder if it is new.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        # Names this process in the database.
        self.writer = uuid4().hex
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path = folder
        self._size = 0
        self._failed = False
        # How many of the rows that wait, from the oldest on, are in the file.
        self.kept = 0
        # A file whose rows are all written could not be deleted.
        self.stays = False

    def keep(self, waiting: Sequence[Row], first: int = 0) -> None:
        """Keep the rows that wait, oldest first; those that are kept already are passed over.

        `first`: how many rows this process has put before them.
        """
        with self._lock:
            lines, count = [], 0
            size = self._size
            for row in waiting[self.kept :]:
                line = _row_line(row)
                size += len(line)
                if size > self._most_bytes:
                    break
                lines.append(line)
                count += 1
            if count and self._append(b"".join(lines), first + self.kept):
                self.kept += count

    def written(self, count: int) -> None:
        """The oldest `count` rows are in the database."""
        with self._lock:
            if not self.kept:
                return
            count = min(count, self.kept)
            self.kept -= count
            if self.kept:
                self._append(_line({"written": count}), surely=False)
            else:
                self._delete()

    def left_over(self) -> list["LeftOver"]:
        """What dead processes have left here; each is locked until it is done."""
        try:
            paths = sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []
        except OSError as error:
            logger.bind(error=str(error)).error("What was kept of the record cannot be looked for")
            return []
        found = (LeftOver.of(path) for path in paths)
        return [left for left in found if left is not None]

    def close(self) -> None:
        """Let go of the file; what is in it is left over."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, content: bytes, number: int = 0, *, surely: bool = True) -> bool:
        try:
            if self._file is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                name = f"{self.writer}-{number}-{uuid4().hex[:8]}{_SUFFIX}"
                self._path = self._folder / name
                self._file = _locked(self._path, _FLAGS)
            _write(self._file, content, self._size, surely=surely)
        except OSError as error:
            if not self._failed:
                logger.bind(error=str(error)).error("The record cannot be kept on disk, either")
            self._failed = True
            if not self._size:
                # Its name would say a wrong number of what is kept in it later.
                self._delete()
            return False
        self._failed = False
        self._size += len(content)
        return True

    def _delete(self) -> None:
        if self._file is None:
            return
        self.stays |= not _unlinked(self._path)
        os.close(self._file)
        self._file, self._size = None, 0


class LeftOver:
    """The rows that a dead process has left, and the lock on their file."""

    def __init__(self, path: Path, file: int, rows: dict[int, Row]) -> None:
        """`rows`: by their places in the file."""
        self._path = path
        self._file = file
        # Files of earlier versions say nothing of their process.
        self.writer, first = _name_parts(path.stem)
        self.rows = list(rows.values())
        # The number of each row among those of its process.
        self.numbers = [first + place for place in rows]

    @classmethod
    def of(cls, path: Path) -> "LeftOver | None":
        """Lock the file and read it; None when a living process has it."""
        try:
            # A network file system locks only what may be written.
            file = _locked(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        with os.fdopen(os.dup(file), "rb") as content:
            return cls(path, file, _rows(path.name, content.read()))

    def done(self) -> bool:
        """The rows are in the database; whether the file is gone."""
        is_gone = _unlinked(self._path)
        os.close(self._file)
        return is_gone


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def _locked(path: Path, flags: int) -> int:
    """Open and lock a file. Raises: OSError, also when another process is faster."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(file).st_nlink:
            raise FileNotFoundError(f"{path.name} was written and deleted meanwhile")
    except OSError:
        os.close(file)
        raise
    return file


def _unlinked(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.bind(error=str(error)).error("A kept record that was written stays on disk")
        return False
    return True


def _write(file: int, content: bytes, size: int, *, surely: bool) -> None:
    """Append to a file of that size. Raises: OSError, and nothing was appended."""
    try:
        if os.write(file, content) < len(content):
            raise OSError("the disk is full")
        if surely:
            os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _row_line(row: Row) -> bytes:
    try:
        return _line({type(row).__name__: row.model_dump(mode="json")})
    except ValueError:
        # No database takes it, either; the others behind it keep their places.
        return _line({"refused": 1})


def _line(content: dict[str, object]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _name_parts(stem: str) -> tuple[str | None, int]:
    """The process, and the number of the first row, by a file's name."""
    writer, _, rest = stem.partition("-")
    number = rest.partition("-")[0]
    return (writer, int(number)) if number.isascii() and number.isdigit() else (None, 0)


def _rows(name_of_file: str, content: bytes) -> dict[int, Row]:
    """The rows that are not in the database yet, by place, up to where the file was cut off."""
    rows: list[Row | None] = []
    written = 0
    for line in content.splitlines():
        try:
            ((name, said),) = json.loads(line).items()
            if name == "written":
                written += said
            elif name == "refused":
                rows.append(None)
            else:
                rows.append(_MODELS[name].model_validate(said))
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.bind(file=name_of_file).warning("A kept record ends before its end")
            break
    places = range(written, len(rows))
    return {place: row for place in places if (row := rows[place]) is not None}
