"""Keeps this instance's claims on the calls it carries: a claim may run out before a call ends.

    claim (first stream) ──▶ kept, kept, kept … every third of its life ──▶ release (end)

What a killed instance carried is claimed by nobody once the claims have run out.
"""

import asyncio
import contextlib
from collections.abc import Callable

from loguru import logger

from agent.live_calls import LiveCalls


class CallLeases:
    """Keeps the claims of `instance` on what `carried` names, for as long as it is open."""

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
        # Two attempts may fail before a claim runs out.
        self._every_secs = ttl_secs / 3
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to keep them."""
        self._task = asyncio.create_task(self._keep(), name="claims")

    async def close(self) -> None:
        """Stop; whoever carried a call releases it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every_secs)
            call_ids = self._carried()
            if not call_ids:
                continue
            try:
                await self._live_calls.keep(call_ids, self._instance)
                # One that ended meanwhile was released before it was kept.
                for call_id in set(call_ids).difference(self._carried()):
                    await self._live_calls.release(call_id, self._instance)
            except Exception as error:
                # Calls go on without; only other instances cannot know who has them.
                logger.opt(exception=error).error("The owners of calls could not be kept")
