"""Connections are closed in the background, and nobody waits for them for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from pipelines.gemini.client import Connection, ModelSession
from pipelines.gemini.closing_connections import CLOSED_WITHIN_SECS, ClosingConnections
from tests.pipelines.call.test_run_call import scene

SESSION = cast(ModelSession, object())


async def opened(
    order: list[str], ends: asyncio.Event, error: Exception | None = None
) -> Connection:
    """A connection that is open, and whose closing takes until `ends` is set."""

    @asynccontextmanager
    async def connection() -> AsyncIterator[ModelSession]:
        yield SESSION
        order.append("closing")
        await ends.wait()
        if error is not None:
            raise error
        order.append("closed")

    opened = connection()
    await opened.__aenter__()
    return opened


@scene
async def test_a_peer_that_hangs_is_waited_for_a_second() -> None:
    order, agrees = list[str](), asyncio.Event()
    began = asyncio.get_running_loop().time()
    await ClosingConnections().close(await opened(order, agrees))
    assert asyncio.get_running_loop().time() == began + CLOSED_WITHIN_SECS
    assert order == ["closing"]
    agrees.set()
    await asyncio.sleep(0)
    assert order == ["closing", "closed"], "it goes on behind"


@scene
async def test_the_task_that_uses_a_connection_ends_before_it_is_closed() -> None:
    order, agrees = list[str](), asyncio.Event()
    agrees.set()

    async def pump() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            order.append("pump ended")
        return ""

    using = asyncio.create_task(pump())
    await asyncio.sleep(0)
    await ClosingConnections().close(await opened(order, agrees), using)
    assert order == ["pump ended", "closing", "closed"]


@scene
async def test_a_connection_that_closes_badly_ends_nothing() -> None:
    order, agrees = list[str](), asyncio.Event()
    agrees.set()
    await ClosingConnections().close_soon(await opened(order, agrees, OSError("broken pipe")))
    assert order == ["closing"]
