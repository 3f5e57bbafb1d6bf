"""The same loads on every server, one after the other, so that they can be compared."""

from collections.abc import Callable
from dataclasses import dataclass, field

from server.bench.cores import Cores, shared_out, staying_on
from server.bench.load.contestants import Contestant
from server.bench.load.measured import Load
from server.bench.load.stage import LoadOptions, on_stage
from server.bench.load.targets import Targets


@dataclass(frozen=True, slots=True)
class Limit:
    """The most calls at once with which all targets held; what did not with more of them."""

    calls: int
    then: list[str]
    tried: list[Load]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to put on whom, and what came of it: by calls at once, then by server."""

    calls: tuple[int, ...]
    contestants: tuple[Contestant, ...]
    options: LoadOptions
    cores: Cores | None
    loads: dict[int, dict[Contestant, Load]] = field(default_factory=dict)
    limits: dict[Contestant, Limit] = field(default_factory=dict)

    def swept(self) -> list[Load]:
        """Every load that was asked for, in order."""
        return [load for loads in self.loads.values() for load in loads.values()]

    def all_loads(self) -> list[Load]:
        """These, and behind them those that a limit was searched with."""
        return self.swept() + [load for limit in self.limits.values() for load in limit.tried]

    def cpu_ratio(self, load: Load, to: Contestant) -> float | None:
        """How much CPU a call takes, as a multiple of another server's under the same load."""
        other = self.loads.get(load.calls, {}).get(to)
        if other is None or other.contestant is load.contestant or not other.cpu_per_call_minute:
            return None
        return load.cpu_per_call_minute / other.cpu_per_call_minute


Tell = Callable[[Load], None]


async def run_sweep(
    calls: tuple[int, ...],
    contestants: tuple[Contestant, ...],
    options: LoadOptions,
    *,
    limit_step: int | None = None,
    pin: bool = True,
    tell: Tell = lambda _load: None,
) -> Sweep:
    """Put every load on every server; `tell` hears of each.

    `limit_step`: also find each server's limit, adding so many calls at a time.

    Raises: StageError when a server does not start.
    """
    cores = shared_out() if pin else None
    sweep = Sweep(calls, contestants, options, cores)
    with staying_on(cores.load if cores else None):
        for count in calls:
            for contestant in contestants:
                async with on_stage(contestant, options, cores, at_once=count) as stage:
                    await stage.grow(count)
                    load = await stage.measure()
                sweep.loads.setdefault(count, {})[contestant] = load
                tell(load)
        for contestant in contestants if limit_step is not None else ():
            assert limit_step is not None
            sweep.limits[contestant] = await find_limit(
                contestant, options, cores, step=limit_step, tell=tell
            )
    return sweep


async def find_limit(
    contestant: Contestant,
    options: LoadOptions,
    cores: Cores | None,
    *,
    step: int,
    most: int = 300,
    targets: Targets | None = None,
    tell: Tell = lambda _load: None,
) -> Limit:
    """Add calls to one server until a target breaks, twice in a row. Raises: StageError."""
    targets = targets or Targets()
    held = 0
    tried: list[Load] = []
    missed: list[str] = []
    async with on_stage(contestant, options, cores, at_once=most) as stage:
        for count in range(step, most + 1, step):
            await stage.grow(count)
            for _ in range(2):
                load = await stage.measure()
                tell(load)
                tried.append(load)
                missed = targets.missed(load)
                if not missed:
                    break
            if missed:
                break
            held = count
    return Limit(held, missed, tried)
