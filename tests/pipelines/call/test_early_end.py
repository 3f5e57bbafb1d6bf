"""A call that is ended while its pipeline is still on its way up, at each turn of the loop."""

import asyncio

import pytest
from loguru import logger

from agent.ports import MemoryRecord
from agent.profile import AgentProfile
from pipelines.call import catalogue
from pipelines.call.run_call import CallSetup, start_call
from tests import virtual_time
from tests.pipelines.model import PlayedModel

# A pipeline is up after fewer.
MOST_TURNS = 60


@pytest.mark.parametrize("turns", range(MOST_TURNS))
def test_a_call_that_ends_while_it_starts_leaves_no_task_behind(turns: int) -> None:
    async def play() -> None:
        before = asyncio.all_tasks()
        running = start_call(
            CallSetup("call-1", "+15550100", AgentProfile(), catalogue.find("phone_call")),
            connect=PlayedModel(),
            record=MemoryRecord(),
            measure=lambda _: None,
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        await running.end()
        assert (await running.ended()).reason is None
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    warnings: list[str] = []
    sink = logger.add(warnings.append, level="WARNING")
    try:
        virtual_time.run(play())
    finally:
        logger.remove(sink)
    assert warnings == []
