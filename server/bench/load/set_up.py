"""What a call's set-up costs a server on which other calls talk.

    secs          0         2                    6         8
    others talk   |─ share ─|┄ a round is set up ┄|─ share ─| hang up | the next round …

The calls of a round are quiet: their phones send no packet, and the model says no more than its
greeting. So what the server takes beyond the mean of the two shares is the set-up. The share goes
up and down with the others' replies, so that everything lasts a whole number of them.
"""

import asyncio
import math
from dataclasses import dataclass
from time import monotonic

from pipelines.rates import PACKET_MS
from server.bench.load.replies import BEATS_IN_REPLY
from server.bench.load.stage import LoadOptions, LoadStage, on_stage, until
from server.bench.systems import System

CALLS_A_ROUND = 20
REPLY_SECS = BEATS_IN_REPLY * PACKET_MS / 1000
# After its first sound, and after its end, what a call leaves to be written is written.
QUIET_SECS = 0.5


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a server took for the set-up of each of `calls` while `beside` others talked.

    CPU milliseconds, user and system, of all its threads: the mean of all calls, from the request
    that places one until there is nothing left to do but to talk.
    """

    system: System
    calls: int
    beside: int
    cpu_ms_per_call: float
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"a call's set-up takes {self.cpu_ms_per_call:.1f} ms of CPU beside {self.beside} "
            f"others (mean of {self.calls})"
        )


async def measure_set_up(system: System, options: LoadOptions, *, calls: int, beside: int) -> SetUp:
    """Set up calls on one server, in rounds, while others talk. Raises: StageError."""
    async with on_stage(system, options, at_once=beside + CALLS_A_ROUND) as stage:
        await stage.grow(beside)
        cpu_secs, problems = 0.0, []
        for done in range(0, calls, CALLS_A_ROUND):
            before = await _others_share(stage)
            used, began = stage.cpu_secs, monotonic()
            placed = await stage.place_many(min(CALLS_A_ROUND, calls - done), quiet=True)
            await until(placed, lambda call: call.is_heard)
            await asyncio.sleep(QUIET_SECS)
            took = monotonic() - began
            await asyncio.sleep(math.ceil(took / REPLY_SECS) * REPLY_SECS - took)
            used, secs = stage.cpu_secs - used, monotonic() - began
            cpu_secs += used - secs * (before + await _others_share(stage)) / 2
            problems += stage.new_problems()
            await stage.hang_up(placed)
            await asyncio.sleep(QUIET_SECS)
        return SetUp(system, calls, beside, 1000 * cpu_secs / calls, problems)


async def _others_share(stage: LoadStage) -> float:
    """CPU seconds a second of those who talk."""
    used, began = stage.cpu_secs, monotonic()
    await asyncio.sleep(REPLY_SECS)
    return (stage.cpu_secs - used) / (monotonic() - began)
