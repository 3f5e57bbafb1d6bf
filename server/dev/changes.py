"""Watches the files that a server has to be started anew for."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from watchfiles import Change, PythonFilter, awatch


class _Watched(PythonFilter):
    """Python files and `.env` files, and `others`; not in `.venv`, `.git` and the like."""

    def __init__(self, others: Iterable[Path]) -> None:
        super().__init__(extra_extensions=(".env",))
        self._others = {str(path) for path in others}

    def __call__(self, change: Change, path: str) -> bool:
        return path in self._others or super().__call__(change, path)


async def changed_files(
    folders: Iterable[Path], others: Iterable[Path], stop: asyncio.Event
) -> AsyncIterator[list[Path]]:
    """The files that changed at once, again and again until `stop`.

    Looks at Python files and `.env` in these folders, and at these `others`.
    """
    others = [path.resolve() for path in others]
    watched = {path.resolve() for path in folders} | {path.parent for path in others}
    async for changes in awatch(*watched, watch_filter=_Watched(others), stop_event=stop):
        yield sorted({Path(path) for _, path in changes})
