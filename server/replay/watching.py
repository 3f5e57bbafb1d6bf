"""Watches scenarios and code, and says what to replay after a change (`--watch`)."""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import agent
import pipelines
import processors

PLAYED = (".yaml", ".yml", ".cassette", ".wav")
WATCHED = (*PLAYED, ".py")
LOOKS_EVERY_SECS = 0.5
_OPTION = "--watch"


def code_folders() -> list[Path]:
    """Where a change may change any call."""
    return [Path(package.__path__[0]) for package in (pipelines, processors, agent)]


def touched(changed: Iterable[Path], played: Sequence[Path]) -> list[Path]:
    """What to replay of `played`: the files that changed, or all of it after a change of code."""
    files: list[Path] = []
    for path in changed:
        if path.suffix == ".py":
            return list(played)
        # A recording belongs to the scenarios beside it.
        found = sorted(path.parent.glob("*.yaml")) if path.suffix == ".wav" else [path]
        files += [file for file in found if file.exists()]
    return list(dict.fromkeys(files))


def watch_and_replay(paths: Sequence[Path], arguments: Sequence[str]) -> None:
    """Replay now, and whenever something changes, until Ctrl-C. `arguments` are the command's.

    Each replay is a process of its own, because it has to import what was edited.
    """
    with suppress(KeyboardInterrupt):
        _replay(paths, paths, arguments)
        for changed in _changes(paths):
            if chosen := touched(changed, paths):
                _replay(chosen, paths, arguments)


def _changes(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The files that changed, each time some did; polled, for it is a few hundred files."""
    before = _versions(paths)
    while True:
        time.sleep(LOOKS_EVERY_SECS)
        now = _versions(paths)
        changed = [path for path in now.keys() | before.keys() if now.get(path) != before.get(path)]
        before = now
        if changed:
            yield sorted(changed)


def _versions(paths: Sequence[Path]) -> dict[Path, int]:
    """When each watched file was last written."""
    found: dict[Path, int] = {}
    for root in (*paths, *code_folders()):
        for path in root.rglob("*") if root.is_dir() else (root,):
            if path.suffix in WATCHED:
                with suppress(OSError):
                    found[path] = path.stat().st_mtime_ns
    return found


def _replay(chosen: Sequence[Path], paths: Sequence[Path], arguments: Sequence[str]) -> None:
    named = {str(path) for path in paths}
    options = [word for word in arguments if word not in named and word != _OPTION]
    program = [sys.executable, "-c", "from server.cli.main import app; app()", "replay"]
    subprocess.run([*program, *map(str, chosen), *options], check=False)  # noqa: S603 - our own
