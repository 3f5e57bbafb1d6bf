"""Watches scenarios and code, and says what to replay after a change (`--watch`)."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from watchfiles import PythonFilter, watch

import agent
import pipelines
import processors

PLAYED = (".yaml", ".yml", ".cassette", ".wav")
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
    _replay(paths, paths, arguments)
    for changed in _changes(paths):
        chosen = touched(changed, paths)
        if chosen:
            _replay(chosen, paths, arguments)


def _changes(paths: Sequence[Path]) -> Iterator[list[Path]]:
    code = PythonFilter()
    for changes in watch(
        *paths,
        *code_folders(),
        watch_filter=lambda change, path: code(change, path) or path.endswith(PLAYED),
        raise_interrupt=False,
    ):
        yield [Path(path) for _, path in changes]


def _replay(chosen: Sequence[Path], paths: Sequence[Path], arguments: Sequence[str]) -> None:
    named = {str(path) for path in paths}
    options = [word for word in arguments if word not in named and word != _OPTION]
    program = [sys.executable, "-c", "from server.cli.main import app; app()", "replay"]
    subprocess.run([*program, *map(str, chosen), *options], check=False)  # noqa: S603 - our own
