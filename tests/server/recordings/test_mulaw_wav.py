"""The WAV of a recording, read with a library that knows nothing of it."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import soundfile

from server.emulators.twilio.mulaw import SILENCE, decode
from server.recordings.mulaw_wav import ForeignFile, MulawWav

SOUND = Random(8000)


def played(path: Path) -> tuple[list[int], list[int]]:
    """Both sides of a file, as samples."""
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.samplerate) == ("WAV", "ULAW", 8000)
    sound, _ = soundfile.read(path, dtype="int16", always_2d=True)
    assert sound.shape == (info.frames, 2)
    return sound[:, 0].tolist(), sound[:, 1].tolist()


def samples(*mulaw: bytes) -> list[int]:
    return list(decode(b"".join(mulaw)).tolist())


@contextmanager
def no_file_beyond(byte_count: int) -> Iterator[None]:
    """Have the kernel refuse to write any file beyond this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_it_can_be_played_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    wav = MulawWav(path)
    left, right = b"", b""
    for count in (1, 160, 8000, 77):
        more = SOUND.randbytes(count), SOUND.randbytes(count)
        assert wav.write(len(left), *more) == 2 * count
        left, right = left + more[0], right + more[1]
        assert played(path) == (samples(left), samples(right))
    wav.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_written_before_is_gone_on_with_behind_silence(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    before, after = SOUND.randbytes(100), SOUND.randbytes(100)
    wav = MulawWav(path)
    wav.write(0, before, before)
    wav.close()
    again = MulawWav(path)
    assert again.samples == 100
    again.write(90_000, after, after)
    again.close()
    both = samples(before, bytes([SILENCE]) * 89_900, after)
    assert played(path) == (both, both)


def test_sound_that_the_header_does_not_count_yet_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    wav = MulawWav(path)
    wav.write(0, b"1234", b"5678")
    wav.close()
    with path.open("ab") as file:
        file.write(b"910")  # killed within a write: a sample, and half of one
    assert played(path) == (samples(b"1234"), samples(b"5678"))
    again = MulawWav(path)
    again.write(5, b"x", b"y")
    again.close()
    assert played(path) == (samples(b"12349x"), samples(b"56781y"))


def test_a_full_disk_leaves_what_was_written_before(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    wav = MulawWav(path)
    wav.write(0, b"12", b"34")
    with no_file_beyond(100), pytest.raises(OSError) as refused:
        wav.write(2, SOUND.randbytes(100), SOUND.randbytes(100))
    assert refused.value.errno == errno.EFBIG
    assert played(path) == (samples(b"12"), samples(b"34"))
    wav.write(2, b"5", b"6")
    wav.close()
    assert played(path) == (samples(b"125"), samples(b"346"))


def test_a_disk_without_room_for_a_header_keeps_no_file(tmp_path: Path) -> None:
    with no_file_beyond(10), pytest.raises(OSError):
        MulawWav(tmp_path / "call.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"notes" * 20, b"RIFF" + bytes(100)])
def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    with pytest.raises(ForeignFile):
        MulawWav(path)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "call.wav").symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(OSError):
        MulawWav(tmp_path / "call.wav")
    assert not (tmp_path / "elsewhere.wav").exists()
    assert os.listdir(tmp_path) == ["call.wav"]
