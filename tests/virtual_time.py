"""Scenes that are played in virtual time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from server.replay.virtual_time import VirtualTimeLoop


def run(scene: Coroutine[Any, Any, None], limit_secs: float = 600.0) -> None:
    """Run a scene in virtual time; one that waits for what never comes fails at the limit."""

    async def limited() -> None:
        async with asyncio.timeout(limit_secs):
            await scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(limited())
