"""The same loads on every server, one after the other, so that they can be compared."""

from collections.abc import Callable
from dataclasses import dataclass, field

from server.bench.cores import Cores, shared_out, staying_on
from server.bench.load.contestants import Contestant
from server.bench.load.run import Load, LoadOptions, put_load


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to put on whom, and what came of it: by calls at once, then by server."""

    calls: tuple[int, ...]
    contestants: tuple[Contestant, ...]
    options: LoadOptions
    cores: Cores | None
    loads: dict[int, dict[Contestant, Load]] = field(default_factory=dict)

    def cpu_ratio(self, load: Load, to: Contestant) -> float | None:
        """How much CPU a call takes, as a multiple of another server's under the same load."""
        other = self.loads[load.calls].get(to)
        if other is None or other is load or not other.cpu_per_call_minute:
            return None
        return load.cpu_per_call_minute / other.cpu_per_call_minute


Tell = Callable[[Load], None]


async def run_sweep(
    calls: tuple[int, ...],
    contestants: tuple[Contestant, ...],
    options: LoadOptions,
    *,
    pin: bool = True,
    tell: Tell = lambda _load: None,
) -> Sweep:
    """Put every load on every server; `tell` hears of each. Raises: StageError."""
    cores = shared_out() if pin else None
    sweep = Sweep(calls, contestants, options, cores)
    with staying_on(cores.load if cores else None):
        for count in calls:
            sweep.loads[count] = {}
            for contestant in contestants:
                load = await put_load(contestant, count, options, cores)
                sweep.loads[count][contestant] = load
                tell(load)
    return sweep
