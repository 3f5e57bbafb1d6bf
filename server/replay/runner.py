"""Plays many scenarios: in processes beside each other, in virtual or in real time, repeatedly.

Each replay has an event loop of its own, so that none disturbs another's clock.
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal

from server.replay.player import PlayOptions, play
from server.replay.results import Replay
from server.replay.scenario import Scenario
from server.replay.virtual_time import VirtualTimeLoop, fenced_sqlite

Speed = Literal["fast", "real"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`jobs` processes at once, each scenario `repeat` times; fast is in virtual time."""

    speed: Speed = "fast"
    jobs: int = 1
    repeat: int = 1
    play: PlayOptions = field(default_factory=PlayOptions)


def run_all(
    scenarios: Sequence[Scenario],
    options: RunOptions,
    *,
    on_start: Callable[[Scenario, int], None] = lambda scenario, repetition: None,
    on_done: Callable[[Replay], None] = lambda replay: None,
) -> list[Replay]:
    """Play them all; the replays in the order of scenarios and repetitions."""
    wanted = [(scenario, n) for n in range(1, options.repeat + 1) for scenario in scenarios]
    if options.jobs == 1:
        replays = []
        for scenario, repetition in wanted:
            on_start(scenario, repetition)
            replays.append(play_one(scenario, options, repetition))
            on_done(replays[-1])
        return replays
    return list(_in_processes(wanted, options, on_start, on_done))


def play_one(scenario: Scenario, options: RunOptions, repetition: int = 1) -> Replay:
    """Play one scenario in this process, on an event loop of its own."""
    if options.speed == "fast":
        with fenced_sqlite(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            replay = runner.run(play(scenario, options.play))
    else:
        replay = asyncio.run(play(scenario, options.play))
    replay.repetition = repetition
    return replay


def _in_processes(
    wanted: Sequence[tuple[Scenario, int]],
    options: RunOptions,
    on_start: Callable[[Scenario, int], None],
    on_done: Callable[[Replay], None],
) -> Iterable[Replay]:
    # One process imports everything, the others are forked from it: no import is paid twice.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["server.replay.quiet", "server.replay.player"])
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        yield from _ordered(pool, wanted, options, on_start, on_done)


def _ordered(
    pool: ProcessPoolExecutor,
    wanted: Sequence[tuple[Scenario, int]],
    options: RunOptions,
    on_start: Callable[[Scenario, int], None],
    on_done: Callable[[Replay], None],
) -> Iterator[Replay]:
    done: dict[int, Replay] = {}
    running: dict[Future[Replay], int] = {}
    waiting = list(enumerate(wanted))[::-1]
    while waiting or running:
        while waiting and len(running) < options.jobs:
            index, (scenario, repetition) = waiting.pop()
            on_start(scenario, repetition)
            running[pool.submit(play_one, scenario, options, repetition)] = index
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            index = running.pop(future)
            done[index] = future.result()
            on_done(done[index])
    return iter([done[index] for index in sorted(done)])
