"""Which files start the server anew."""

import asyncio
from pathlib import Path

from server.dev.changes import changed_files


async def test_python_settings_and_named_files_count_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    elsewhere = tmp_path / "scripts"
    for path in (folder / ".venv", folder / "my_agent", elsewhere):
        path.mkdir(parents=True)
    script = elsewhere / "model.yaml"
    script.touch()
    stop = asyncio.Event()
    changes = changed_files([folder], [script], stop)
    seen: set[Path] = set()
    counted = {folder / "my_agent" / "calls.py", folder / ".env", script}

    async def watch() -> None:
        async for files in changes:
            seen.update(files)
            if seen >= counted:
                stop.set()

    async def write() -> None:
        # Until it is seen: a watcher needs a moment to look at all folders.
        number = 0
        while not stop.is_set():
            number += 1
            for other in (folder / "notes.txt", folder / ".venv" / "x.py", elsewhere / "x.yaml"):
                other.write_text(str(number))
            for path in counted:
                path.write_text(str(number))
            await asyncio.sleep(0.05)

    async with asyncio.timeout(60):
        await asyncio.gather(watch(), write())
    assert seen == counted
