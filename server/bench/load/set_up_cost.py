"""What is asked of a set-up's measurement and what it tells, alone or beside others."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from server.bench.cores import shared_out, staying_on
from server.bench.load.awake import kept_awake
from server.bench.load.contestants import Contestant
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.statistics import Summary, summarise


@dataclass(frozen=True, slots=True)
class SetUpOptions:
    """So many calls; `warm_up` come before them and are not counted.

    One by one, a window of `window_secs` tells what the server does without a call: so many come
    before the calls, and one behind each few. `quiet_secs` after the first sound and after the end,
    what follows of them is done, written behind included. `awake`: the server's core never sleeps.
    """

    calls: int = 50
    warm_up: int = 5
    window_secs: float = 0.5
    windows_before: int = 4
    calls_a_window: int = 3
    quiet_secs: float = 0.5
    awake: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetUpCost:
    """CPU milliseconds of a server for one of `calls`, user and system, of all its threads.

    From the request that has it placed, `first_sound_cpu_ms` is up to the first sound at the phone,
    `setup_cpu_ms` until nothing is left to do but to talk; `end_cpu_ms` is from there to the last
    line of the record. `idle_each_ms_per_sec` is what the server took without them, window by
    window: for the `beside` calls that talk meanwhile, if any.
    """

    contestant: Contestant
    calls: int
    beside: int
    first_sound_cpu_ms: Summary | None
    setup_cpu_ms: Summary | None
    end_cpu_ms: Summary | None
    idle_each_ms_per_sec: list[float]
    awake: bool
    went_wrong: list[str]

    @property
    def idle_ms_per_sec(self) -> float:
        """The median of its windows; 0 when there were none."""
        idle = summarise(self.idle_each_ms_per_sec)
        return idle.p50 if idle else 0.0


@asynccontextmanager
async def set_up_stage(
    contestant: Contestant, options: SetUpOptions, *, at_once: int, pin: bool
) -> AsyncIterator[LoadStage]:
    """A server that has had no call yet. Raises: StageError, NotAwake."""
    cores = shared_out() if pin else None
    load = LoadOptions(warm_up=False, settings=options.settings)
    with staying_on(cores.load if cores else None), kept_awake(cores, options.awake):
        async with on_stage(contestant, load, cores, at_once=at_once) as stage:
            yield stage
