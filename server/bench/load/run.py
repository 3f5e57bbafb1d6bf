"""Runs `voice-ai bench load` as it was asked for: a sweep, a soak, or the cost of set-ups."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop
from rich.console import Console

from server.bench.alone import alone
from server.bench.cores import shared_out, staying_on
from server.bench.load.priority import ahead_of_others
from server.bench.load.report import as_json, one_line, print_sweep
from server.bench.load.set_up import measure_set_up
from server.bench.load.set_up_report import print_set_ups, set_ups_as_json
from server.bench.load.soak import SoakOptions, run_soak
from server.bench.load.soak_report import print_soaks, sample_line, soaks_as_json
from server.bench.load.stage import LoadOptions
from server.bench.load.sweep import run_sweep
from server.bench.systems import System

# Which systems are measured when none is named.
USUAL = (System.OURS, System.PLAIN, System.BRIDGE)


@dataclass(frozen=True, slots=True)
class LoadBench:
    """What to measure: calls at once in a sweep, unless `soak` or `set_up` is given.

    `limit_step`: also find each system's limit, adding so many calls at a time. `set_up`: so many
    calls are set up while `beside` others talk. `settings` are environment variables for ours,
    which runs in so many `workers`, with as many cores.
    """

    calls: tuple[int, ...]
    systems: tuple[System, ...] = USUAL
    secs: float = 20.0
    limit_step: int | None = None
    soak: SoakOptions | None = None
    set_up: int | None = None
    beside: int = 20
    settings: Mapping[str, str] = field(default_factory=dict)
    warm_up: bool = True
    pin: bool = True
    priority: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Everything that was measured, ready for JSON, and what did not go as it should."""

    told: dict[str, Any]
    problems: list[str]


Tell = Callable[[str], None]


def run_load_bench(asked: LoadBench, tell: Tell) -> LoadResult:
    """Measure each system, and print the result; `tell` hears how it goes on.

    Only one bench runs at a time on a machine; another one is waited for.

    Raises: NoPriority when running ahead of others is not allowed; StageError when a server does
    not start.
    """
    cores = shared_out(asked.workers) if asked.pin else None
    if asked.pin and cores is None:
        tell("Too few cores: the server and the load generator share them.")
    options = LoadOptions(asked.secs, asked.warm_up, asked.settings, cores, asked.workers)
    with (
        alone(lambda: tell("Another bench runs on this machine; waiting.")),
        ahead_of_others(asked.priority),
        staying_on(cores.load if cores else None),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_measure(asked, options, tell))


def _measure(asked: LoadBench, options: LoadOptions, tell: Tell) -> Coroutine[Any, Any, LoadResult]:
    if asked.set_up is not None:
        return _set_ups(asked, options, asked.set_up, tell)
    if asked.soak is not None:
        return _soaks(asked, options, asked.soak, tell)
    return _sweep(asked, options, tell)


async def _sweep(asked: LoadBench, options: LoadOptions, tell: Tell) -> LoadResult:
    sweep = await run_sweep(
        asked.calls,
        asked.systems,
        options,
        limit_step=asked.limit_step,
        tell=lambda load: tell(one_line(load)),
    )
    print_sweep(sweep, Console())
    # A limit is found by loads that go wrong.
    return LoadResult(as_json(sweep), [one for load in sweep.swept() for one in load.problems])


async def _set_ups(asked: LoadBench, options: LoadOptions, calls: int, tell: Tell) -> LoadResult:
    set_ups = []
    for system in asked.systems:
        tell(f"{system.label}: {calls} calls")
        set_ups.append(await measure_set_up(system, options, calls=calls, beside=asked.beside))
    print_set_ups(set_ups, Console())
    return LoadResult(set_ups_as_json(set_ups), [one for each in set_ups for one in each.problems])


async def _soaks(
    asked: LoadBench, options: LoadOptions, soak: SoakOptions, tell: Tell
) -> LoadResult:
    soaks = [
        await run_soak(system, options, soak, lambda sample: tell(sample_line(sample)))
        for system in asked.systems
    ]
    print_soaks(soaks, Console())
    return LoadResult(soaks_as_json(soaks), [one for each in soaks for one in each.problems])
