"""How late this process was itself: what a load generator adds to everything it measures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

TICK_SECS = 0.005
# Beyond this, lateness of ours is no longer small against what is measured.
LATE_MS = 5.0
# One that lasts longer than a packet of sound shows in the highest percentiles.
STALL_MS = 20.0


@asynccontextmanager
async def loop_lag() -> AsyncIterator[list[float]]:
    """Milliseconds by which the event loop came late, every 5 ms for as long as the block lasts."""
    lags: list[float] = []
    watch = asyncio.create_task(_watch(lags))
    try:
        yield lags
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_SECS
        await asyncio.sleep(TICK_SECS)
        lags.append((loop.time() - due) * 1000)
