"""Short calls one after the other, so many at a time: whether a server grows with them.

at once  |=call=||=call=||=call=|…
         |=call=||=call=||=call=|…          every 100 calls: memory
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import linear_regression

from server.bench.load.stage import CALLS_PER_SEC, LoadOptions, LoadStage, on_stage, until
from server.bench.systems import System

# At the most, and ten times at the least.
SAMPLE_EVERY = 100
# How long a call talks once both sides are heard.
TALK_SECS = 2.0
# After the last call, what is written behind is written.
LEAVE_SECS = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many calls: memory in MB (10^6 bytes)."""

    calls: int
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Soak:
    """What became of a server. The last of `samples` is after all have hung up."""

    system: System
    at_once: int
    samples: list[Sample]
    growth_mb_per_100: float
    problems: list[str]

    def __str__(self) -> str:
        last = self.samples[-1]
        return (
            f"{last.calls} calls, {self.at_once} at once; {last.resident_mb:.1f} MB with nobody on "
            f"the phone; grows by {self.growth_mb_per_100:.2f} MB per 100 calls (second half)"
        )


async def run_soak(
    system: System,
    options: LoadOptions,
    *,
    calls: int,
    at_once: int,
    tell: Callable[[str], None],
) -> Soak:
    """Have so many calls on one server; `tell` hears of each sample. Raises: StageError."""
    samples: list[Sample] = []
    problems: list[str] = []
    numbers = iter(range(calls))
    every = max(1, min(SAMPLE_EVERY, calls // 10))
    async with on_stage(system, options, at_once=at_once) as stage:
        done = 0

        def sample() -> None:
            samples.append(Sample(done, stage.resident_mb))
            tell(f"{system}: after {done} calls {samples[-1].resident_mb:.1f} MB")

        async def one_after_the_other() -> None:
            nonlocal done
            for _ in numbers:
                problems.extend(await _short_call(stage))
                done += 1
                if done % every == 0:
                    sample()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_the_other())
                await asyncio.sleep(1 / CALLS_PER_SEC)
        await asyncio.sleep(LEAVE_SECS)
        sample()
    return Soak(system, at_once, samples, growth_mb_per_100(samples[:-1]), problems)


async def _short_call(stage: LoadStage) -> list[str]:
    """Have one call; what went wrong with it."""
    call = await stage.place()
    await until([call], lambda one: one.talks)
    await asyncio.sleep(TALK_SECS)
    await stage.hang_up([call])
    problems = list(call.problems)
    lost = len(call.up.lost) + len(call.down.lost)
    strange = len(call.up.strange) + len(call.down.strange)
    if lost or strange:
        problems.append(f"{lost} markers lost, {strange} strange")
    return [f"call {call.number}: {one}" for one in problems]


def growth_mb_per_100(talking: Sequence[Sample]) -> float:
    """MB that a hundred calls add: a line fitted to the second half of the samples."""
    half = talking[len(talking) // 2 :]
    calls, mb = [one.calls / 100 for one in half], [one.resident_mb for one in half]
    return linear_regression(calls, mb).slope if len(set(calls)) > 1 else 0.0
