"""Calls that are started before anybody calls."""

import asyncio
from collections import Counter

from agent.measures import Measure, WarmUp, WarmWaste
from agent.ports import MemoryRecord
from agent.record.models import Call, CallStatus, Direction
from pipelines.call.held_record import HeldRecord
from pipelines.call.inbound_pool import InboundPool, PooledCall
from tests.pipelines.call.test_run_call import scene
from tests.pipelines.scripted_pipeline import ScriptedPipeline

OURS = "+15550100"


class Starter:
    """Starts scripted calls, and keeps them."""

    def __init__(self) -> None:
        self.started: list[ScriptedPipeline] = []
        self.measures: list[Measure] = []
        self.log: list[str] = []

    def start(self, number: str) -> PooledCall:
        running = ScriptedPipeline(self.log)
        running.tokens = {("output", "audio"): 50}
        self.started.append(running)
        call = Call(
            direction=Direction.INBOUND,
            status=CallStatus.RINGING,
            phone_number="unknown",
            our_number=number,
            pipeline="p",
        )
        return PooledCall(call, running, HeldRecord())  # type: ignore[arg-type]

    def pool(self, size: int = 1, for_secs: float = 240.0) -> InboundPool:
        return InboundPool(
            self.start, [OURS], size=size, measure=self.measures.append, for_secs=for_secs
        )


@scene
async def test_the_first_caller_takes_a_call_that_is_ready_and_another_one_is_started() -> None:
    starter = Starter()
    pool = starter.pool()
    pool.fill()
    await asyncio.sleep(0.1)
    assert pool.take("+15550199") is None
    taken = pool.take(OURS)
    assert taken is not None
    assert taken.running is starter.started[0]  # type: ignore[comparison-overlap]
    assert pool.take(OURS) is None
    await asyncio.sleep(1)
    assert len(starter.started) == 2
    assert pool.open == 1
    await pool.close()
    assert starter.log == ["pipeline ended"], "the one that was taken is none of the pool's"


@scene
async def test_a_call_that_grew_old_is_replaced_and_its_cost_counted() -> None:
    starter = Starter()
    pool = starter.pool(for_secs=100)
    pool.fill()
    await asyncio.sleep(250)
    assert len(starter.started) == 3
    counts = Counter(type(measure) for measure in starter.measures)
    assert counts == {WarmUp: 2, WarmWaste: 2}
    await pool.close()


@scene
async def test_calls_that_fail_are_started_again_later_and_later() -> None:
    starter = Starter()
    pool = starter.pool()
    pool.fill()
    for _ in range(200):
        if starter.started and not starter.started[-1].is_over:
            starter.started[-1].fails()
        await asyncio.sleep(1)
    assert 5 <= len(starter.started) <= 12
    assert pool.take(OURS) is None
    await pool.close()


@scene
async def test_a_call_that_cannot_be_started_is_tried_again() -> None:
    class Unreliable(Starter):
        failures = 2

        def start(self, number: str) -> PooledCall:
            if self.failures:
                self.failures -= 1
                raise ValueError("a pipeline of somebody's own")
            return super().start(number)

    starter = Unreliable()
    pool = starter.pool()
    pool.fill()
    await asyncio.sleep(10)
    assert pool.take(OURS) is not None
    await pool.close()


def test_what_is_recorded_before_the_call_exists_is_kept() -> None:
    held, record = HeldRecord(), MemoryRecord()
    held.event("model.connected")
    held.release(record)
    held.event("call.leaving")
    assert [kind for kind, _ in record.events] == ["model.connected", "call.leaving"]
