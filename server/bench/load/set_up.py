"""What a call's set-up and its end cost: one after the other, on a server with nothing else to do.

    placed ─ rings ─ answered ─ first sound ─ quiet ─ hung up ─ quiet
    ├──────────── to first sound ────────┤          │
    ├──────────── set up ───────────────────────────┤├─── end ──────┤

Nobody speaks: the phone sends no packet, and the model says no more than its greeting. So all that
the server does is set-up and end, but for what it does when there is no call at all; that is
measured first, and taken off.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from server.bench.cores import shared_out, staying_on
from server.bench.load.contestants import Contestant
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.processes import cpu_secs
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.statistics import Summary, summarise

SOUNDS_WITHIN_SECS = 20.0


@dataclass(frozen=True, slots=True)
class SetUpOptions:
    """So many calls; `warm_up` come before them and are not counted.

    `idle_secs` tell what the server does without a call. `quiet_secs` after the first sound and
    after the end, what follows of them is done, written behind included.
    """

    calls: int = 50
    warm_up: int = 5
    idle_secs: float = 3.0
    quiet_secs: float = 0.5
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetUpCost:
    """CPU milliseconds of a server for one of `calls`, user and system, of all its threads.

    From the request that has it placed, `first_sound_cpu_ms` is up to the first sound at the phone,
    `setup_cpu_ms` until nothing is left to do but to talk; `end_cpu_ms` is from there to the last
    line of the record. `idle_ms_per_sec` is what the server takes without them: for the `beside`
    calls that talk meanwhile, if any.
    """

    contestant: Contestant
    calls: int
    beside: int
    first_sound_cpu_ms: Summary | None
    setup_cpu_ms: Summary | None
    end_cpu_ms: Summary | None
    idle_ms_per_sec: float
    went_wrong: list[str]


async def measure_set_up(
    contestant: Contestant, options: SetUpOptions, *, pin: bool = True
) -> SetUpCost:
    """Have so many quiet calls on one server. Raises: StageError."""
    cores = shared_out() if pin else None
    load = LoadOptions(warm_up=False, settings=options.settings)
    with staying_on(cores.load if cores else None):
        async with on_stage(contestant, load, cores, at_once=1) as stage:
            return await _SettingUp(stage, options).run()


class _SettingUp:
    def __init__(self, stage: LoadStage, options: SetUpOptions) -> None:
        self._stage = stage
        self._options = options
        self._idle_share = 0.0
        self._first_sound_cpu_ms: list[float] = []
        self._setup_cpu_ms: list[float] = []
        self._end_cpu_ms: list[float] = []
        self._went_wrong: list[str] = []

    async def run(self) -> SetUpCost:
        for _ in range(self._options.warm_up):
            await self._one_call()
        for figures in (self._first_sound_cpu_ms, self._setup_cpu_ms, self._end_cpu_ms):
            figures.clear()
        self._idle_share = await self._idle()
        for _ in range(self._options.calls):
            await self._one_call()
        return SetUpCost(
            self._stage.contestant,
            self._options.calls,
            0,
            summarise(self._first_sound_cpu_ms),
            summarise(self._setup_cpu_ms),
            summarise(self._end_cpu_ms),
            1000 * self._idle_share,
            self._went_wrong,
        )

    async def _idle(self) -> float:
        """CPU seconds that the server takes in a second without a call."""
        used, began = cpu_secs(self._stage.pid), monotonic()
        await asyncio.sleep(self._options.idle_secs)
        return (cpu_secs(self._stage.pid) - used) / (monotonic() - began)

    async def _one_call(self) -> None:
        used = self._from_here()
        call = await self._stage.place(quiet=True)
        if not await sounds(call):
            self._went_wrong.append(f"call {call.number}: {'; '.join(call.problems) or 'silent'}")
            await self._stage.hang_up([call])
            return
        first_sound_cpu_ms = used()
        await asyncio.sleep(self._options.quiet_secs)
        setup_cpu_ms, used = used(), self._from_here()
        await self._stage.hang_up([call])
        await asyncio.sleep(self._options.quiet_secs)
        self._first_sound_cpu_ms.append(first_sound_cpu_ms)
        self._setup_cpu_ms.append(setup_cpu_ms)
        self._end_cpu_ms.append(used())
        self._went_wrong += [f"call {call.number}: {one}" for one in call.problems]

    def _from_here(self) -> Callable[[], float]:
        """Tells the CPU ms that went to calls since now."""
        pid, share = self._stage.pid, self._idle_share
        before, began = cpu_secs(pid), monotonic()
        return lambda: 1000 * (cpu_secs(pid) - before - share * (monotonic() - began))


async def sounds(call: LoadedCall) -> bool:
    """Whether something is heard at the phone; False when nothing is within a while."""
    try:
        async with asyncio.timeout(SOUNDS_WITHIN_SECS):
            await call.sounds.wait()
    except TimeoutError:
        return False
    return True
