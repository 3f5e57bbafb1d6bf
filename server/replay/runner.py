"""Plays many scenarios: in processes beside each other, in virtual or in real time, repeatedly.

Each replay has an event loop of its own, so that none disturbs another's clock.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from server.replay.crew import Crew
from server.replay.player import PlayOptions, play
from server.replay.results import Replay, Verdict
from server.replay.scenario import Scenario
from server.replay.sqlite_work import ordered_sqlite
from server.replay.virtual_time import VirtualTimeLoop

Speed = Literal["fast", "real"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`jobs` processes at once, each scenario `repeat` times; fast is in virtual time."""

    speed: Speed = "fast"
    jobs: int = 1
    repeat: int = 1
    play: PlayOptions = field(default_factory=PlayOptions)


_Order = tuple[Scenario, RunOptions, int]


def run_all(
    scenarios: Sequence[Scenario],
    options: RunOptions,
    *,
    on_start: Callable[[Scenario, int], None] = lambda scenario, repetition: None,
    on_done: Callable[[Replay], None] = lambda replay: None,
) -> list[Replay]:
    """Play them all; the replays in the order of repetitions and scenarios."""
    orders = [
        (scenario, options, repetition)
        for repetition in range(1, options.repeat + 1)
        for scenario in scenarios
    ]
    if options.jobs == 1:
        replays = []
        for order in orders:
            on_start(order[0], order[2])
            replays.append(_play(order))
            on_done(replays[-1])
        return replays
    crew = Crew(options.jobs, _play, _lost, preload=("server.replay.quiet", "server.replay.player"))
    return crew.answers(
        orders, on_start=lambda order: on_start(order[0], order[2]), on_done=on_done
    )


def play_one(scenario: Scenario, options: RunOptions, repetition: int = 1) -> Replay:
    """Play one scenario in this process, on an event loop of its own."""
    # What a cassette's vendors do has its times from the cassette.
    if options.speed == "fast" or scenario.cassette is not None:
        with ordered_sqlite(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            replay = runner.run(play(scenario, options.play))
    else:
        replay = asyncio.run(play(scenario, options.play))
    replay.repetition = repetition
    return replay


def _play(order: _Order) -> Replay:
    return play_one(*order)


def _lost(order: _Order, how: str) -> Replay:
    scenario, _, repetition = order
    problem = f"the process that played it {how}"
    return Replay(scenario, Verdict.BROKEN, problem=problem, repetition=repetition)
