"""What a call's set-up and its end cost a server that carries other calls meanwhile.

    others talk  |─ share ─|┄┄ a round's ┄┄|─ share ─|┄┄ its ┄┄|─ share ─|  and the next round
                           |  quiet calls  |         |   end   |

One by one, each call finds a core that has slept, and nothing of the program in its caches. Here
calls come as they do on a server that works.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from server.bench.cores import shared_out, staying_on
from server.bench.load.contestants import Contestant
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.processes import cpu_secs
from server.bench.load.set_up import SetUpCost, SetUpOptions, sounds
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.statistics import summarise

CALLS_A_ROUND = 20


async def measure_set_up_beside(
    contestant: Contestant, options: SetUpOptions, talking: int, *, pin: bool = True
) -> SetUpCost:
    """Have so many quiet calls in rounds, on a server on which `talking` others talk.

    Each figure is of a round: its mean for a call. Raises: StageError.
    """
    cores = shared_out() if pin else None
    load = LoadOptions(warm_up=False, settings=options.settings)
    with staying_on(cores.load if cores else None):
        async with on_stage(contestant, load, cores, at_once=talking + CALLS_A_ROUND) as stage:
            rounds = _Rounds(stage, options, load.calls_per_sec)
            if options.warm_up:
                await rounds.have(options.warm_up)
            await stage.grow(talking)
            rounds.forget()
            for begun in range(0, options.calls, CALLS_A_ROUND):
                await rounds.have(min(CALLS_A_ROUND, options.calls - begun))
            return rounds.cost(talking)


class _Rounds:
    def __init__(self, stage: LoadStage, options: SetUpOptions, calls_per_sec: float) -> None:
        self._stage = stage
        self._options = options
        self._calls_per_sec = calls_per_sec
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._setup_cpu_ms: list[float] = []
        self._end_cpu_ms: list[float] = []
        self._shares: list[float] = []
        self._went_wrong: list[str] = []

    def cost(self, talking: int) -> SetUpCost:
        """What the rounds since the last `forget` have told."""
        others = [
            f"call {one.number}: {what}" for one in self._stage.calls for what in one.problems
        ]
        share = summarise(self._shares)
        return SetUpCost(
            self._stage.contestant,
            self._options.calls,
            talking,
            None,
            summarise(self._setup_cpu_ms),
            summarise(self._end_cpu_ms),
            1000 * share.p50 if share else 0.0,
            self._went_wrong + others,
        )

    async def have(self, calls: int) -> None:
        """Have so many calls set up, and have them end."""
        placed: list[LoadedCall] = []
        before = await self._share()
        setup = await self._spent(lambda: self._place(calls, placed))
        held = await self._share()
        end = await self._spent(lambda: self._end(placed))
        after = await self._share()
        # What it takes without news changes by what the quiet calls take, and with the machine.
        self._setup_cpu_ms.append(1000 * _above(setup, (before + held) / 2) / calls)
        self._end_cpu_ms.append(1000 * _above(end, (held + after) / 2) / calls)
        self._shares.append(before)
        self._went_wrong += [
            f"call {one.number}: {what}" for one in placed for what in one.problems
        ]

    async def _place(self, calls: int, placed: list[LoadedCall]) -> None:
        began = monotonic()
        for number in range(calls):
            await asyncio.sleep(max(0.0, began + number / self._calls_per_sec - monotonic()))
            placed.append(await self._stage.place(quiet=True))
        for call in placed:
            if not await sounds(call):
                call.problems.append("silent")
        await asyncio.sleep(self._options.quiet_secs)

    async def _end(self, placed: list[LoadedCall]) -> None:
        await self._stage.hang_up(placed)
        await asyncio.sleep(self._options.quiet_secs)

    async def _share(self) -> float:
        """CPU seconds that the server takes in a second while nothing changes."""
        used, secs = await self._spent(lambda: asyncio.sleep(self._options.idle_secs))
        return used / secs

    async def _spent(self, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        """CPU seconds of the server and seconds that went by, until this is done."""
        used, began = cpu_secs(self._stage.pid), monotonic()
        await work()
        return cpu_secs(self._stage.pid) - used, monotonic() - began


def _above(spent: tuple[float, float], share: float) -> float:
    cpu_secs_used, secs = spent
    return cpu_secs_used - share * secs
