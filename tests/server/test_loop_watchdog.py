"""Who blocks a loop is named, whoever runs the loop; who does not is not."""

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import pytest
import uvloop

from server import loop_watchdog
from server.code_places import frames_within
from server.loop_watchdog import GARBAGE_COLLECTION, Stall
from tests.loop_stalls import watched_loop

# What blocks is let block again until it is named so often, for a machine that gives the core to
# others hides some; whom nobody names in this many times is never named.
NAMED = 3
TIMES = 40

Enough = Callable[[list[Stall]], bool]
Run = Callable[[Callable[[], Awaitable[None] | None], Enough], list[Stall]]


def computes() -> None:
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass


def waits() -> None:
    time.sleep(0.05)


def sums() -> None:
    sum(range(20_000_000))


def small() -> None:
    until = time.thread_time() + 0.0002
    while time.thread_time() < until:
        pass


async def crowd() -> None:
    """As much work as `computes`, in many callbacks of one turn of the loop."""
    for _ in range(250):
        asyncio.get_running_loop().call_soon(small)


async def stalls_of(work: Callable[[], Awaitable[None] | None], enough: Enough) -> list[Stall]:
    """The stalls of a loop on which `work` is done again and again, until they are enough."""
    with watched_loop() as stalls:
        for _ in range(TIMES):
            # Some beats without it: with the first one the watchdog knows how deep the loop is.
            await asyncio.sleep(0.02)
            if (working := work()) is not None:
                await working
            if enough(stalls):
                break
        return list(stalls)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work, enough: runner.run(stalls_of(work, enough))


def places(stalls: list[Stall]) -> Counter[str]:
    return Counter(stall.place for stall in stalls)


def named(place: str) -> Enough:
    return lambda stalls: places(stalls)[place] >= NAMED


@pytest.mark.parametrize("work", [computes, waits])
def test_a_function_that_blocks_is_named(run: Run, work: Callable[[], None]) -> None:
    place = f"{__name__}:{work.__name__}"
    stalls = run(work, named(place))
    found = [stall for stall in stalls if stall.place == place]
    assert len(found) >= NAMED, places(stalls)
    assert max(stall.secs for stall in found) >= 0.035
    assert found[0].stack[0].function == work.__name__
    assert found[0].stack[0].line > 0


def test_what_it_waited_is_told(run: Run) -> None:
    def certain(stalls: list[Stall]) -> bool:
        return any(stall.waited_secs >= 0.02 and stall.looks > 1 for stall in stalls)

    stalls = run(waits, certain)
    assert certain(stalls), stalls
    assert all(stall.waited_secs <= stall.secs for stall in stalls)
    assert max(stall.computed_secs for stall in stalls if "waits" in stall.place) < 0.02


def test_what_it_computed_is_told(run: Run) -> None:
    def certain(stalls: list[Stall]) -> bool:
        return any(stall.computed_secs >= 0.02 and stall.looks > 1 for stall in stalls)

    stalls = run(computes, certain)
    assert certain(stalls), stalls
    assert all(stall.computed_secs <= stall.secs for stall in stalls)


def test_code_in_c_that_holds_the_interpreter_is_found_in_its_caller(run: Run) -> None:
    place = f"{__name__}:sums"
    stalls = run(sums, lambda stalls: place in places(stalls))
    assert place in places(stalls)


def test_many_small_callbacks_are_nobodys_fault(run: Run) -> None:
    stalls = run(crowd, lambda stalls: len(stalls) >= 20)
    assert len(stalls) >= 20
    blamed = [stall for stall in stalls if "small" in stall.place]
    assert len(blamed) < len(stalls) / 2, places(stalls)
    # Whoever is looked at twice is not one of many.
    assert [stall for stall in blamed if stall.looks > 1 and stall.computed_secs >= 0.01] == []


def test_the_garbage_collector_is_named(run: Run) -> None:
    junk = [[n] for n in range(900_000)]

    def collects() -> None:
        gc.collect()

    stalls = run(collects, named(GARBAGE_COLLECTION))
    assert len(junk) == 900_000
    assert places(stalls)[GARBAGE_COLLECTION] >= NAMED, places(stalls)


def test_an_idle_loop_is_nobodys_fault_either(run: Run) -> None:
    stalls = run(lambda: None, lambda _: False)
    assert [stall for stall in stalls if stall.looks > 1 and stall.computed_secs >= 0.01] == []


def test_nothing_is_collected_while_it_walks_through_the_loops_frames(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    might_collect: list[bool] = []

    def within(frame: FrameType | None, depth: int) -> list[FrameType]:
        might_collect.append(gc.isenabled())
        return frames_within(frame, depth)

    monkeypatch.setattr(loop_watchdog, "frames_within", within)
    run(computes, named(f"{__name__}:computes"))
    assert might_collect
    assert not any(might_collect)
    assert gc.isenabled()


async def test_it_leaves_nothing_behind() -> None:
    callbacks, threads = list(gc.callbacks), threading.active_count()
    with watched_loop():
        assert threading.active_count() == threads + 1
    assert gc.callbacks == callbacks
    assert threading.active_count() == threads
