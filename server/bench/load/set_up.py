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

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.replies import BEATS_IN_REPLY
from server.bench.load.sounds import PACKET_MS
from server.bench.load.stage import TALKS_WITHIN_SECS, LoadOptions, LoadStage, on_stage
from server.bench.systems import System

CALLS_A_ROUND = 20
REPLY_SECS = BEATS_IN_REPLY * PACKET_MS / 1000
# After its first sound, and after its end, what a call leaves to be written is written.
QUIET_SECS = 0.5


@dataclass(frozen=True, slots=True)
class Round:
    """Some calls that were set up one after the other.

    CPU milliseconds, user and system, of all the server's threads: for the set-up of each call,
    from the request that places it until there is nothing left to do but to talk, and for the
    others that talked meanwhile, per second.
    """

    calls: int
    cpu_ms_per_call: float
    others_ms_per_sec: float


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a server took for set-ups while `beside` others talked."""

    system: System
    beside: int
    rounds: list[Round]
    problems: list[str]

    @property
    def calls(self) -> int:
        """Those of all rounds."""
        return sum(one.calls for one in self.rounds)

    @property
    def cpu_ms_per_call(self) -> float:
        """The mean of all calls."""
        return sum(one.calls * one.cpu_ms_per_call for one in self.rounds) / self.calls


async def measure_set_up(system: System, options: LoadOptions, *, calls: int, beside: int) -> SetUp:
    """Set so many calls up on one server, in rounds, while others talk. Raises: StageError."""
    async with on_stage(system, options, at_once=beside + CALLS_A_ROUND) as stage:
        await stage.grow(beside)
        found = SetUp(system, beside, rounds=[], problems=[])
        for done in range(0, calls, CALLS_A_ROUND):
            placed, one = await _round(stage, min(CALLS_A_ROUND, calls - done))
            found.rounds.append(one)
            found.problems.extend(stage.new_problems())
            await stage.hang_up(placed)
            await asyncio.sleep(QUIET_SECS)
        return found


async def _round(stage: LoadStage, calls: int) -> tuple[list[LoadedCall], Round]:
    before = await _others_ms_per_sec(stage)
    used, began = stage.cpu_secs, monotonic()
    placed = await stage.place_many(calls, quiet=True)
    for call in placed:
        try:
            await asyncio.wait_for(call.sounds.wait(), TALKS_WITHIN_SECS)
        except TimeoutError:
            call.problems.append("silent")
    await asyncio.sleep(QUIET_SECS)
    took = monotonic() - began
    await asyncio.sleep(math.ceil(took / REPLY_SECS) * REPLY_SECS - took)
    used, secs = stage.cpu_secs - used, monotonic() - began
    others = (before + await _others_ms_per_sec(stage)) / 2
    return placed, Round(calls, (1000 * used - others * secs) / calls, others)


async def _others_ms_per_sec(stage: LoadStage) -> float:
    used, began = stage.cpu_secs, monotonic()
    await asyncio.sleep(REPLY_SECS)
    return 1000 * (stage.cpu_secs - used) / (monotonic() - began)
