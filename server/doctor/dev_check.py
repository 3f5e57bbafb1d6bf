"""Notices a `voice-ai dev` of this folder: its server has settings of its own."""

import asyncio
from urllib.parse import urlsplit

from server.doctor.findings import Finding, skip

ANSWERS_WITHIN_SECS = 1.0


async def check_dev(url: str | None) -> list[Finding]:
    """The finding when `dev` serves at `url`, the address that it noted; nothing otherwise."""
    address = urlsplit(url or "")
    if not address.hostname or not address.port:
        return []
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_SECS):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
    except (OSError, TimeoutError):
        return []
    writer.close()
    return [
        skip(
            "dev",
            f"`voice-ai dev` serves at {address.geturl()}: it needs no setting, and has emulated "
            "vendors and a database of its own. All else here is about `voice-ai serve`.",
        )
    ]
