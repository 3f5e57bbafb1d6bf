"""MulawWav: a stereo mu-law WAV file that grows during a call, and is valid after every write.

    RIFF size | fmt: 7 (mu-law), 2 channels, 8000 Hz, 8 bits | fact: samples | data size | L R L R …

Audio is appended first and then counted in the header, so that the file is valid whenever the
writing process is killed.

Source: RFC 2361 (WAVE_FORMAT_MULAW, 0x0007) and Microsoft's "Multiple channel audio data and WAVE
files": a format that is not PCM has a `fact` chunk.
"""

import os
import struct
from pathlib import Path

from pipelines.rates import MULAW_SILENCE, PHONE_RATE

MULAW = 7
CHANNELS = 2
_HEADER = struct.Struct("<4sI4s 4sIHHIIHHH 4sII 4sI")
_FILL_SAMPLES = 10 * PHONE_RATE


class ForeignFile(Exception):
    """The file exists and was not written by this program."""


class MulawWav:
    """The file of one call; continues a file that an earlier process wrote.

    Every method may raise OSError, and then leaves a valid file.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises: OSError, ForeignFile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        try:
            # In samples, each of `CHANNELS` bytes.
            self.samples = self._samples_there()
        except BaseException:
            if os.fstat(self._file).st_size < _HEADER.size:
                path.unlink()
            os.close(self._file)
            raise

    def write(self, at: int, left: bytes, right: bytes) -> int:
        """Append audio of both sides that begins at sample `at`, after silence to get there.

        If the file is already longer, the audio is appended anyway. Returns how many bytes the
        file has grown by.
        """
        samples_before = self.samples
        while self.samples < at:
            self._append(bytes((MULAW_SILENCE,)) * CHANNELS * min(_FILL_SAMPLES, at - self.samples))
        both = bytearray(CHANNELS * len(left))
        both[0::2] = left
        both[1::2] = right
        self._append(both)
        return CHANNELS * (self.samples - samples_before)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _samples_there(self) -> int:
        size = os.fstat(self._file).st_size
        if size < _HEADER.size:
            # Nothing, or what was left of a full disk's first write.
            self._write_header(0)
            return 0
        there = _HEADER.unpack(os.pread(self._file, _HEADER.size, 0))
        samples = (size - _HEADER.size) // CHANNELS
        if [*_fields(0)[2:13]] != [*there[2:13]] or there[15] != b"data":
            raise ForeignFile
        return samples

    def _append(self, sound: bytes | bytearray) -> None:
        start = _HEADER.size + CHANNELS * self.samples
        samples = self.samples + len(sound) // CHANNELS
        try:
            _write_all(self._file, sound, start)
            self._write_header(samples)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self.samples = samples

    def _write_header(self, samples: int) -> None:
        _write_all(self._file, _HEADER.pack(*_fields(samples)), 0)


def _fields(samples: int) -> tuple[bytes | int, ...]:
    size = CHANNELS * samples
    block = (MULAW, CHANNELS, PHONE_RATE, CHANNELS * PHONE_RATE, CHANNELS, 8, 0)
    riff = (b"RIFF", _HEADER.size - 8 + size, b"WAVE")
    return (*riff, b"fmt ", 18, *block, b"fact", 4, samples, b"data", size)


def _write_all(file: int, content: bytes | bytearray, at: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, at)
        left = left[written:]
        at += written
