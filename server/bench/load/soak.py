"""Short calls one after the other, so many at a time: whether a server grows with them.

at once  |=call=||=call=||=call=|…
         |=call=||=call=||=call=|…          every 100 calls: memory, collections
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.bench.cores import shared_out, staying_on
from server.bench.load.contestants import Contestant
from server.bench.load.processes import cpu_secs, resident_mb
from server.bench.load.stage import LoadOptions, LoadStage, on_stage, until_talking

TALKS_SECS = 2.0
_STEADY_SECS = 5.0
# At the most, and ten times at the least.
SAMPLE_EVERY = 100
# After the last call: what is written behind is written by then.
_LEAVES_SECS = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many calls: memory in MB (10^6 bytes), full garbage collections so far."""

    calls: int
    resident_mb: float
    full_collections: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What became of a server. The last of `samples` is after all have hung up.

    `cpu_ms_per_call` is what a call takes beside its talking: dialled, answered, set up, hung up,
    written down.
    """

    contestant: Contestant
    at_once: int
    samples: list[Sample]
    cpu_ms_per_call: float
    went_wrong: list[str]

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
    contestant: Contestant,
    calls: int,
    at_once: int,
    *,
    pin: bool = True,
    tell: Tell = lambda _sample: None,
) -> Soak:
    """Have so many calls on one server; `tell` hears of each sample. Raises: StageError."""
    cores = shared_out() if pin else None
    options = LoadOptions(_STEADY_SECS)
    staging = on_stage(contestant, options, cores, at_once=at_once, probed=True)
    with staying_on(cores.load if cores else None):
        async with staging as stage:
            return await _soak(stage, options, calls, at_once, tell)


async def _soak(
    stage: LoadStage, options: LoadOptions, calls: int, at_once: int, tell: Tell
) -> Soak:
    samples: list[Sample] = []
    went_wrong: list[str] = []
    talked_secs = 0.0
    placed = done = 0
    every = max(1, min(SAMPLE_EVERY, calls // 10))

    def take_sample() -> None:
        samples.append(Sample(done, resident_mb(stage.pid), stage.full_collections))
        tell(samples[-1])

    async def one_after_the_other() -> None:
        nonlocal placed, done, talked_secs
        while placed < calls:
            placed += 1
            call = await stage.place()
            await until_talking([call])
            await asyncio.sleep(TALKS_SECS)
            talked_secs += call.talked_secs
            await stage.hang_up([call])
            done += 1
            lost = call.up.lost + call.down.lost
            strange = call.up.strange + call.down.strange
            if call.problems or lost or strange:
                said = [*call.problems, f"{len(lost)} markers lost, {len(strange)} strange"]
                went_wrong.append(f"call {call.number}: {'; '.join(said)}")
            if done % every == 0:
                take_sample()

    await stage.grow(at_once)
    steady = await stage.measure()
    await stage.hang_up()
    talk_share = steady.core_share / at_once
    used = cpu_secs(stage.pid)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())
            await asyncio.sleep(1 / options.calls_per_sec)
    await asyncio.sleep(_LEAVES_SECS)
    used = cpu_secs(stage.pid) - used
    take_sample()
    beside = 1000 * (used - talk_share * talked_secs) / calls
    return Soak(stage.contestant, at_once, samples, beside, went_wrong)
