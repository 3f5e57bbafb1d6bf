"""Writes the files of recordings: blocking functions for one writer thread."""

import errno
from dataclasses import dataclass
from pathlib import Path

from pipelines.rates import PHONE_RATE
from pipelines.recording.recording import Cut
from server.recordings.mulaw_wav import ForeignFile, MulawWav

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class RecordingFile:
    """The file of one call. `call_age_secs`: how long the call had lasted when this was created.

    A file that another process wrote before is continued at that age.
    """

    path: Path
    call_age_secs: float = 0.0
    _wav: MulawWav | None = None
    _begins_at: int = 0

    def append(self, cut: Cut) -> int:
        """Write a piece; return how many bytes the file has grown by.

        Raises: OSError, ForeignFile; the file is then closed and valid.
        """
        try:
            wav = self._wav or self._open()
            return wav.write(self._begins_at + cut.start, cut.caller, cut.agent)
        except (OSError, ForeignFile):
            self._give_up()
            raise

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._wav is not None:
            self._wav.close()
            self._wav = None

    def erase(self) -> None:
        """Close and delete the file, if there is one. Raises: OSError."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _open(self) -> MulawWav:
        make_folder(self.path.parent)
        wav = self._wav = MulawWav(self.path)
        if wav.samples:
            self._begins_at = max(wav.samples, round(self.call_age_secs * PHONE_RATE))
        return wav

    def _give_up(self) -> None:
        if self._wav is not None and not self._wav.samples:
            self.erase()
        self.close()


@dataclass(frozen=True, slots=True)
class Job:
    """A piece to write, if any; `last`: close the file after it."""

    file: RecordingFile
    cut: Cut | None
    last: bool


def write(jobs: list[Job]) -> list[int | OSError | ForeignFile]:
    """Do these jobs; return for each how many bytes its file has grown by, or the error."""
    return [_write(job) for job in jobs]


def make_folder(folder: Path) -> None:
    """Create the folder, readable for its owner only. Raises: OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def why(error: OSError | ForeignFile) -> str:
    """The outcome of a recording that this error ended."""
    out_of_space = isinstance(error, OSError) and error.errno in NO_SPACE
    return "no_space" if out_of_space else "cannot_write"


def _write(job: Job) -> int | OSError | ForeignFile:
    grown = 0
    try:
        if job.cut is not None:
            grown = job.file.append(job.cut)
        if job.last:
            job.file.close()
    except (OSError, ForeignFile) as error:
        return error
    return grown
