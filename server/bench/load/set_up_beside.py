"""What a call's set-up and its end cost a server that carries other calls meanwhile.

    secs          0         2                   6         8        10
    others talk   |─ share ─|┄┄ a round's ┄┄┄┄┄┄|─ share ─|┄┄ its ┄┄|─ share ─|┄┄ the next …
                            |  quiet calls      |         |   end   |

One by one, each call finds a core that has slept, and nothing of the program in its caches. Here
calls come as they do on a server that works.

What the others take meanwhile is more than what the calls take, and goes up and down with their
replies. So every phase is a whole number of replies, the calls of a round come as densely as they
can be answered in two of them, and each share stands for both phases that it is between.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from time import monotonic

from server.bench.load.contestants import Contestant
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.replies import BEATS_IN_REPLY
from server.bench.load.set_up import sounds
from server.bench.load.set_up_cost import SetUpCost, SetUpOptions, set_up_stage
from server.bench.load.sounds import PACKET_MS
from server.bench.load.spent import Meter, Spent
from server.bench.load.stage import LoadStage
from server.bench.statistics import summarise

MOST_A_ROUND = 32
CALLS_PER_SEC = 12.0
REPLY_SECS = BEATS_IN_REPLY * PACKET_MS / 1000


async def measure_set_up_beside(
    contestant: Contestant, options: SetUpOptions, talking: int, *, pin: bool = True
) -> SetUpCost:
    """Have so many quiet calls in rounds, on a server on which `talking` others talk.

    Each figure is of a round: its mean for a call. Raises: StageError, NotAwake.
    """
    at_once = talking + MOST_A_ROUND
    async with set_up_stage(contestant, options, at_once=at_once, pin=pin) as stage:
        await stage.grow(talking)
        rounds = _Rounds(stage, options)
        await rounds.share()
        if options.warm_up:
            await rounds.have(options.warm_up)
        rounds.forget()
        for calls in in_rounds(options.calls):
            await rounds.have(calls)
        return rounds.cost(talking)


def in_rounds(calls: int) -> list[int]:
    """How many calls each round has: as few rounds as there can be, each as large as the others.

    In a small one, what others take would be shared out among few.
    """
    rounds = math.ceil(calls / MOST_A_ROUND)
    return [calls // rounds + (number < calls % rounds) for number in range(rounds)]


class _Rounds:
    def __init__(self, stage: LoadStage, options: SetUpOptions) -> None:
        self._stage = stage
        self._options = options
        # CPU ms a second between the phases, without and with the round's calls in turn.
        self._shares: list[float] = []
        self.forget()

    def forget(self) -> None:
        """All rounds so far, but for the share behind the last one: the next follows it."""
        self._setup_cpu_ms: list[float] = []
        self._end_cpu_ms: list[float] = []
        self._shares = self._shares[-1:]
        self._went_wrong: list[str] = []

    def cost(self, talking: int) -> SetUpCost:
        """What the rounds since the last `forget` have told."""
        others = [
            f"call {one.number}: {what}" for one in self._stage.calls for what in one.problems
        ]
        return SetUpCost(
            self._stage.contestant,
            self._options.calls,
            talking,
            None,
            summarise(self._setup_cpu_ms),
            summarise(self._end_cpu_ms),
            self._shares[::2],
            self._options.awake,
            self._went_wrong + others,
        )

    async def share(self) -> None:
        """Measure what the server takes while nothing changes."""
        spent = await self._phase(lambda: asyncio.sleep(self._options.quiet_secs))
        self._shares.append(spent.ms_per_sec)

    async def have(self, calls: int) -> None:
        """Have so many calls set up, and have them end."""
        placed: list[LoadedCall] = []
        setup = await self._phase(lambda: self._place(calls, placed))
        self._setup_cpu_ms.append(await self._more_than_around(setup) / calls)
        end = await self._phase(lambda: self._end(placed))
        self._end_cpu_ms.append(await self._more_than_around(end) / calls)
        self._went_wrong += [
            f"call {one.number}: {what}" for one in placed for what in one.problems
        ]

    async def _more_than_around(self, spent: Spent) -> float:
        """CPU ms above the shares before and behind a phase.

        What the others take changes with the machine, and what the round's calls take once they
        are there is no part of their set-up.
        """
        await self.share()
        return spent.ms_above(sum(self._shares[-2:]) / 2)

    async def _phase(self, work: Callable[[], Awaitable[None]]) -> Spent:
        """Do something, and wait until whole replies have gone by; what the server spent."""
        meter, began = Meter.of(self._stage.pid), monotonic()
        await work()
        took = monotonic() - began
        await asyncio.sleep(math.ceil(took / REPLY_SECS) * REPLY_SECS - took)
        return meter.spent()

    async def _place(self, calls: int, placed: list[LoadedCall]) -> None:
        began = monotonic()
        for number in range(calls):
            due = began + number / CALLS_PER_SEC
            await asyncio.sleep(max(0.0, due - monotonic()))
            placed.append(await self._stage.place(quiet=True))
        for call in placed:
            if not await sounds(call):
                call.problems.append("silent")
        await asyncio.sleep(self._options.quiet_secs)

    async def _end(self, placed: list[LoadedCall]) -> None:
        await self._stage.hang_up(placed)
        await asyncio.sleep(self._options.quiet_secs)
