"""Recordings that are too old: they go, and nothing else does."""

import os
from pathlib import Path

from server.recordings.retention import erase_older


def file(path: Path, at: float) -> Path:
    path.write_bytes(b"sound")
    os.utime(path, (at, at))
    return path


def test_what_is_older_goes_and_everything_else_stays(tmp_path: Path) -> None:
    old, young = file(tmp_path / f"{'a' * 32}.wav", 999), file(tmp_path / f"{'b' * 32}.wav", 1000)
    others = [
        file(tmp_path / name, 0)
        for name in ("music.wav", f"{'c' * 32}.txt", f"{'A' * 32}.wav", f"{'d' * 31}.wav")
    ]
    assert erase_older(tmp_path, 1000) == 1
    assert not old.exists()
    assert sorted(tmp_path.iterdir()) == sorted([young, *others])


def test_a_folder_that_is_not_there_has_nothing_old(tmp_path: Path) -> None:
    assert erase_older(tmp_path / "nowhere", 1000) == 0


def test_one_that_cannot_be_erased_keeps_no_other(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 32}.wav").mkdir()
    os.utime(tmp_path / f"{'a' * 32}.wav", (0, 0))
    file(tmp_path / f"{'b' * 32}.wav", 0)
    assert erase_older(tmp_path, 1000) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"{'a' * 32}.wav"]
