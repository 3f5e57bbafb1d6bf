"""A file on its way to a client: read in threads, a piece at a time, and never beyond its size.

Starlette's FileResponse reads to the end, which fails when the file grows meanwhile.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

from fastapi.responses import StreamingResponse

PIECE_BYTES = 262_144


async def stream_file(path: Path, media_type: str) -> StreamingResponse:
    """The file as an attachment, as long as it is now.

    Raises: FileNotFoundError, or another OSError when it cannot be read.
    """
    # An object, so that it is closed even when nobody begins to read.
    file = await asyncio.to_thread(path.open, "rb", buffering=0)
    byte_count = os.fstat(file.fileno()).st_size
    headers = {
        "Content-Length": str(byte_count),
        "Content-Disposition": f'attachment; filename="{path.name}"',
    }
    return StreamingResponse(_pieces(file, byte_count), media_type=media_type, headers=headers)


async def _pieces(file: FileIO, left: int) -> AsyncIterator[bytes]:
    with file:
        while left and (piece := await asyncio.to_thread(file.read, min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
