"""Calls in virtual time: the same messages every time, far faster than they last."""

import asyncio
import threading
import time
from pathlib import Path

from server.replay.reading import read_scenarios
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.virtual_time import VirtualTimeLoop

SCENARIOS = Path(__file__).parents[3] / "scenarios"


def replay(file: str, name: str) -> Replay:
    (scenario,) = [s for s in read_scenarios(SCENARIOS / file) if s.name.endswith(f"/{name}")]
    return play_one(scenario, RunOptions())


def run(scene: object) -> float:
    """Run a coroutine; how long it took on the virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        began = loop.time()
        runner.run(scene)  # type: ignore[arg-type]
        return loop.time() - began


def test_a_sleep_takes_its_time_on_the_virtual_clock_alone() -> None:
    began = time.perf_counter()
    assert run(asyncio.sleep(3600)) == 3600
    assert (time.perf_counter() - began) * 100 < 3600


def test_the_clock_stands_while_a_thread_works() -> None:
    async def scene() -> None:
        may_end = threading.Event()
        loop = asyncio.get_running_loop()
        began = loop.time()
        work = loop.run_in_executor(None, may_end.wait)
        slept = asyncio.create_task(asyncio.sleep(5))
        threading.Timer(0.05, may_end.set).start()
        await work
        assert loop.time() == began
        await slept
        assert loop.time() == began + 5

    run(scene())


def test_the_end_waits_for_threads_as_long_as_they_work() -> None:
    may_end = threading.Event()

    async def scene() -> None:
        asyncio.get_running_loop().run_in_executor(None, may_end.wait)
        threading.Timer(0.1, may_end.set).start()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scene())
        loop = runner.get_loop()
        began = loop.time()
        loop.run_until_complete(loop.shutdown_default_executor())
        assert may_end.is_set()
        assert loop.time() == began


def test_the_same_scenario_twice_gives_the_same_messages_twice() -> None:
    first = replay("conversation.yaml", "barge_in_twice")
    second = replay("conversation.yaml", "barge_in_twice")
    assert first.verdict is Verdict.PASSED, first.failures

    def told(replayed: Replay) -> list[tuple[object, ...]]:
        return [(round(e.at, 6), e.lane, e.kind, e.text) for e in replayed.timeline]

    assert told(first) == told(second)
    assert first.sound == second.sound
    assert first.transcript == second.transcript


def test_calls_are_replayed_far_faster_than_they_last() -> None:
    played = replay("line.yaml", "silent_caller")
    assert played.verdict is Verdict.PASSED, played.failures
    assert played.call_secs > 5 * played.took_secs
