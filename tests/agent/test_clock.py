"""The clock of a loop, and what the machine's own clock does to it."""

import asyncio
import time

from agent.clock import loop_clock
from tests import virtual_time


def test_it_is_the_wall_clock_and_moves_on_with_the_loops_time() -> None:
    async def scene() -> None:
        clock = loop_clock()
        began = clock()
        assert abs(began - time.time()) < 1.0
        await asyncio.sleep(3600)
        assert 3600 <= clock() - began < 3601

    virtual_time.run(scene(), limit_secs=4000)


def test_a_machine_that_slept_is_made_up_for_once_and_nothing_goes_back() -> None:
    async def scene() -> None:
        ahead = 100.0
        clock = loop_clock(lambda: ahead)
        began = clock()
        ahead += 0.5
        assert clock() == began
        ahead += 8 * 3600
        assert clock() == clock() == began + 8 * 3600 + 0.5
        ahead -= 7200
        assert clock() == began + 8 * 3600 + 0.5

    virtual_time.run(scene())
