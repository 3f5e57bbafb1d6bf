"""ClosingConnections: closes connections to the model, beside what goes on.

A closing handshake takes a round trip, and a peer that hangs never completes it.
"""

import asyncio

from loguru import logger

from pipelines.gemini.client import Connection

# How long a closing handshake may hold up what comes after it.
CLOSED_WITHIN_SECS = 1.0


class ClosingConnections:
    """The connections of one call that are being closed, each in a task of its own."""

    def __init__(self) -> None:
        self._closing: set[asyncio.Task[None]] = set()

    def close_soon(
        self, connection: Connection, pump: asyncio.Task[str] | None = None
    ) -> asyncio.Task[None]:
        """Close a connection in the background, after ending the task that uses it."""
        closing = asyncio.create_task(_close(connection, pump), name="leaving model")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def close(self, connection: Connection, pump: asyncio.Task[str] | None = None) -> None:
        """Close a connection; a peer that is slow to agree is not waited for."""
        await asyncio.wait({self.close_soon(connection, pump)}, timeout=CLOSED_WITHIN_SECS)


async def _close(connection: Connection, pump: asyncio.Task[str] | None) -> None:
    if pump is not None:
        pump.cancel()
        await asyncio.wait({pump})
    try:
        await connection.__aexit__(None, None, None)
    except Exception as error:
        logger.debug("model session closed badly", error=type(error).__name__)
