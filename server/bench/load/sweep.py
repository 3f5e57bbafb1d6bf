"""The same loads on every system, one after the other, so that they can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from server.bench.load.measured import Load
from server.bench.load.stage import LoadOptions, on_stage
from server.bench.systems import System

# `--find-limit` goes no further.
MOST_AT_ONCE = 300
# What has to hold for a core to carry so many calls: ms at the 99th percentile, either way.
UP_P99_MS, DOWN_P99_MS = 25.0, 40.0


@dataclass(frozen=True, slots=True)
class Limit:
    """The most calls at once with which all targets held; what did not with more of them."""

    calls: int
    then: list[str]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every load that was asked for, and behind them those that a limit was `searched` with."""

    options: LoadOptions
    loads: list[Load] = field(default_factory=list)
    searched: list[Load] = field(default_factory=list)
    limits: dict[System, Limit] = field(default_factory=dict)

    def cpu_ratio(self, load: Load, to: System) -> float | None:
        """How much CPU a call takes, as a multiple of another system's under the same load."""
        same = [one for one in self.loads if one.calls == load.calls and one.system is to]
        if not same or to is load.system or not same[0].cost.cpu_secs:
            return None
        return load.cpu_per_call_minute / same[0].cpu_per_call_minute


async def run_sweep(
    calls: Sequence[int],
    systems: Sequence[System],
    options: LoadOptions,
    *,
    limit_step: int | None,
    tell: Callable[[str], None],
) -> Sweep:
    """Put every load on every system; `tell` hears of each.

    `limit_step`: also find each system's limit, adding so many calls at a time.

    Raises: StageError when a server does not start.
    """
    sweep = Sweep(options)
    for count in calls:
        for system in systems:
            async with on_stage(system, options, at_once=count) as stage:
                await stage.grow(count)
                sweep.loads.append(await stage.measure())
            tell(str(sweep.loads[-1]))
    if limit_step is not None:
        for system in systems:
            sweep.limits[system] = await _find_limit(system, sweep, step=limit_step, tell=tell)
    return sweep


async def _find_limit(
    system: System, sweep: Sweep, *, step: int, tell: Callable[[str], None]
) -> Limit:
    """Add calls to one server until a target breaks, twice in a row. Raises: StageError."""
    held = 0
    async with on_stage(system, sweep.options, at_once=MOST_AT_ONCE) as stage:
        for count in range(step, MOST_AT_ONCE + 1, step):
            await stage.grow(count)
            for _ in range(2):
                load = await stage.measure()
                tell(str(load))
                sweep.searched.append(load)
                missed = missed_targets(load)
                if not missed:
                    break
            else:
                return Limit(held, missed)
            held = count
    return Limit(held, [])


def missed_targets(load: Load) -> list[str]:
    """Which targets do not hold, in words; empty when all do. Nothing may be lost, ever."""
    missed = []
    if load.problems:
        missed.append(f"{len(load.problems)} problems, the first: {load.problems[0]}")
    for name, summary, most in (
        ("packet to Gemini", load.up.ms, UP_P99_MS),
        ("chunk to Twilio", load.first_chunk_ms, DOWN_P99_MS),
    ):
        if summary is None:
            missed.append(f"{name}: nothing came")
        elif summary.p99 > most:
            missed.append(f"{name}: {summary.p99:.1f} ms at p99, not {most:g}")
    if load.gaps:
        missed.append(f"{load.gaps} gaps")
    return missed + load.damages
