"""CallLeases: renews this instance's leases on the calls it carries, until they end.

    claim (first stream) ──▶ renew, renew, renew … every third of the TTL ──▶ release (end)

The leases of a killed instance expire.
"""

import asyncio
import contextlib
from collections.abc import Callable

from loguru import logger

from agent.live_calls import LiveCalls


class CallLeases:
    """Renews the leases of `instance` on the calls that `carried` returns."""

    def __init__(
        self,
        live_calls: LiveCalls,
        carried: Callable[[], list[str]],
        *,
        instance: str,
        ttl_secs: float,
    ) -> None:
        self._live_calls = live_calls
        self._carried = carried
        self._instance = instance
        # Two attempts may fail before a lease expires.
        self._every_secs = ttl_secs / 3
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start renewing."""
        self._task = asyncio.create_task(self._renew_leases(), name="call-leases")

    async def close(self) -> None:
        """Stop renewing; the registry releases the leases."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._every_secs)
            call_ids = self._carried()
            if not call_ids:
                continue
            try:
                await self._live_calls.renew(call_ids, self._instance)
                # A call that ended meanwhile was released before it was renewed.
                for call_id in set(call_ids).difference(self._carried()):
                    await self._live_calls.release(call_id, self._instance)
            except Exception as error:
                # Calls go on without leases; other instances just cannot see who carries them.
                logger.opt(exception=error).error("The leases of calls could not be renewed")
