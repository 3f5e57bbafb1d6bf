"""Short calls one after the other, so many at a time: whether a server grows with them.

at once  |=call=||=call=||=call=|…
         |=call=||=call=||=call=|…          every 100 calls: memory, collections
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.stage import CALLS_PER_SEC, LoadOptions, LoadStage, on_stage, until_talking
from server.bench.systems import System

# At the most, and ten times at the least.
SAMPLE_EVERY = 100
# After the last call, what is written behind is written.
LEAVE_SECS = 3.0


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """So many calls, so many at once. Each talks for `talk_secs` once both sides are heard."""

    calls: int = 1000
    at_once: int = 20
    talk_secs: float = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many calls: memory in MB (10^6 bytes), full garbage collections so far."""

    calls: int
    resident_mb: float
    full_collections: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What became of a server. The last of `samples` is after all have hung up.

    `collected_mb` is its memory after a full collection that was asked for at the end; None when
    it did none. What is far above the beginning then is kept on purpose, or lost.
    `cpu_ms_per_call` is what a call takes beside its talking: dialled, answered, set up, hung up,
    written down.
    """

    system: System
    at_once: int
    samples: list[Sample]
    cpu_ms_per_call: float
    collected_mb: float | None
    problems: list[str]

    @property
    def growth_mb_per_100(self) -> float:
        """MB that a hundred calls add: a line fitted to the second half of the samples."""
        talking = self.samples[:-1]
        return slope([(one.calls / 100, one.resident_mb) for one in talking[len(talking) // 2 :]])


Tell = Callable[[Sample], None]


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through some points (least squares); 0 when there are fewer than two."""
    if len(points) < 2:
        return 0.0
    across, up = np.array(points).T
    return float(np.polyfit(across, up, deg=1)[0])


async def run_soak(
    system: System, options: LoadOptions, soak: SoakOptions, tell: Tell = lambda _sample: None
) -> Soak:
    """Have so many calls on one server; `tell` hears of each sample. Raises: StageError.

    As many calls as come at once only talk first, for as long as the options say: what talking
    takes is no part of `cpu_ms_per_call`.
    """
    async with on_stage(system, options, at_once=soak.at_once, probed=True) as stage:
        return await _Soaking(stage, soak, tell).run()


class _Soaking:
    def __init__(self, stage: LoadStage, options: SoakOptions, tell: Tell) -> None:
        self._stage = stage
        self._options = options
        self._tell = tell
        self._every = max(1, min(SAMPLE_EVERY, options.calls // 10))
        self._samples: list[Sample] = []
        self._problems: list[str] = []
        self._talked_secs = 0.0
        self._placed = self._done = 0

    async def run(self) -> Soak:
        stage, options = self._stage, self._options
        await stage.grow(options.at_once)
        steady = await stage.measure()
        await stage.hang_up()
        used = stage.cpu_secs
        async with asyncio.TaskGroup() as group:
            for _ in range(options.at_once):
                group.create_task(self._one_after_the_other())
                await asyncio.sleep(1 / CALLS_PER_SEC)
        await asyncio.sleep(LEAVE_SECS)
        used = stage.cpu_secs - used
        self._sample()
        talking = steady.core_share / options.at_once * self._talked_secs
        return Soak(
            stage.system,
            options.at_once,
            self._samples,
            1000 * (used - talking) / options.calls,
            stage.resident_mb if await stage.collect() else None,
            steady.problems + self._problems,
        )

    async def _one_after_the_other(self) -> None:
        while self._placed < self._options.calls:
            self._placed += 1
            call = await self._stage.place()
            await until_talking([call])
            await asyncio.sleep(self._options.talk_secs)
            self._talked_secs += call.talked_secs
            await self._stage.hang_up([call])
            self._done += 1
            self._look_at(call)
            if self._done % self._every == 0:
                self._sample()

    def _look_at(self, call: LoadedCall) -> None:
        lost = len(call.up.lost) + len(call.down.lost)
        strange = len(call.up.strange) + len(call.down.strange)
        said = list(call.problems)
        if lost or strange:
            said.append(f"{lost} markers lost, {strange} strange")
        if said:
            self._problems.append(f"call {call.number}: {'; '.join(said)}")

    def _sample(self) -> None:
        stage = self._stage
        self._samples.append(Sample(self._done, stage.resident_mb, stage.full_collections))
        self._tell(self._samples[-1])
