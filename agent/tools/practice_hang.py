"""Hanging tool for practice: it takes no notice of being cancelled, and the agent goes on."""

import asyncio
import contextlib

LOOKS_FOR_SECS = 60.0


async def find_technician(town: str) -> str:
    """Find a technician who has time.

    Args:
        town: Where the technician is needed.
    """
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(LOOKS_FOR_SECS)
    await asyncio.sleep(LOOKS_FOR_SECS)
    return f"{town}: nobody has time"
