"""Scenes that are played in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from server.replay.virtual_time import VirtualTimeLoop


def run(scene: Coroutine[Any, Any, None], limit_secs: float = 600.0) -> None:
    """Run a scene in virtual time; one that waits for what never comes fails at the limit."""

    async def limited() -> None:
        async with asyncio.timeout(limit_secs):
            await scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(limited())


def loop_of_the_test(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """pytest-asyncio's hook: tests run in virtual time, unless they are marked `real_time`."""
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}
