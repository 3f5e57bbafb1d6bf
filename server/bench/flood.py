"""What floods of requests without a key cost live calls: each packet's lateness, and memory.

    calls talk  |── quiet ──|── flood ──|── quiet ──|── flood ──|── quiet ── …
                            a process of its own sends it, and reads nothing

The server has a core of its own. Load generator and flood share the others; the flood comes last.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from server.bench.load.measured import Load
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.machine import ahead_of_others
from server.bench.statistics import Summary
from server.bench.systems import System
from server.bench.tables import print_problems, print_table, told

# The most that a flood may cost a packet, and the memory that may stay behind when it is over.
COSTS_AT_MOST_MS = 50.0
KEEPS_AT_MOST_MB = 20.0
# The flood is over so long before a measurement is.
OVER_BEFORE_SECS = 1.0
# The server's priority among the processes of its core: SCHED_RR would stall it for 50 ms in each
# second in which it is busy all the time.
FIRST_NICE = -20


QUIET = "quiet"
# A path, requests of a connection, connections at a time, and seconds that each is held open.
FLOODS = {
    "requests": ("/", 10_000, 10, 0.0),
    "documents": ("/openapi.json", 200, 50, 1.0),
    "connections": ("/", 1, 1_000, 0.0),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """One measurement, named for its flood or QUIET. Memory in MB (10^6 bytes), afterwards."""

    name: str
    rounds: int
    load: Load
    after_mb: float

    @property
    def ways(self) -> tuple[tuple[str, Summary | None], ...]:
        """Latencies in ms, on the way to the model and to the phone."""
        return ("in", self.load.up.ms), ("out", self.load.first_chunk_ms)


async def measure_floods(
    calls: int, options: LoadOptions, *, priority: bool, tell: Callable[[str], None]
) -> list[Phase]:
    """Measure `calls` at once: quiet, and then each flood with a quiet time behind it.

    Raises: StageError when the server does not start or dies; NoPriority.
    """
    phases: list[Phase] = []
    async with on_stage(System.OURS, options, at_once=calls) as stage:
        with ahead_of_others(priority):
            if priority:
                os.setpriority(os.PRIO_PROCESS, stage.server.pid, FIRST_NICE)
            await stage.grow(calls)
            for name in (QUIET, *(each for one in FLOODS for each in (one, QUIET))):
                tell(name)
                phases.append(await _phase(stage, name, options.secs - OVER_BEFORE_SECS))
    return phases


async def _phase(stage: LoadStage, name: str, secs: float) -> Phase:
    if name == QUIET:
        return Phase(name, 0, await stage.measure(), stage.resident_mb)
    words = (stage.server.url.rpartition(":")[2], *FLOODS[name], secs)
    # Started before anything is measured: to start a process stalls the load generator.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.bench.flooder", *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
    )
    load, (said, _) = await asyncio.gather(stage.measure(), process.communicate())
    return Phase(name, int(said or 0), load, stage.resident_mb)


def problems_of(phases: Sequence[Phase]) -> list[str]:
    """What did not go as it should: calls, and floods that cost a packet or memory too much."""
    quiet = phases[0]
    problems = [f"{one.name}: {problem}" for one in phases for problem in one.load.problems]
    usual = {way: summary.p50 for way, summary in quiet.ways if summary is not None}
    for one in phases:
        if one.name != QUIET and not one.rounds:
            problems.append(f"{one.name}: there was no flood")
        for way, summary in one.ways:
            if summary is None or way not in usual:
                problems.append(f"{one.name}: nothing came, {way}")
            elif (cost := summary.largest - usual[way]) > COSTS_AT_MOST_MS:
                problems.append(f"{one.name}: a packet was {cost:.0f} ms late, {way}")
        if one.load.damages:
            problems.append(f"{one.name}: sound was lost")
    if (kept := phases[-1].after_mb - quiet.after_mb) > KEEPS_AT_MOST_MB:
        problems.append(f"{kept:.0f} MB stayed behind")
    return problems


def as_json(phases: Sequence[Phase]) -> dict[str, Any]:
    """Each phase, latencies in ms as `[p50, p99, largest]`."""
    each = [
        {"name": one.name, "rounds": one.rounds, "after_mb": one.after_mb}
        | {"core_share": one.load.core_share, "gaps": one.load.gaps}
        | {way: found and (found.p50, found.p99, found.largest) for way, found in one.ways}
        for one in phases
    ]
    return {"phases": each, "problems": problems_of(phases)}


def print_floods(phases: Sequence[Phase], console: Console) -> None:
    """Print the phases, and whether the floods cost what they may; `own` is our own lateness."""
    rows = [
        (
            one.name,
            *(told(summary, "p50", "p99", "largest") for _, summary in one.ways),
            told(one.load.cost.late_ms, "largest"),
            f"{one.load.core_share:.0%}",
            f"{one.after_mb:.0f}",
        )
        for one in phases
    ]
    title = f"{phases[0].load.calls} calls at once, ms at p50/p99/most"
    print_table(console, title, ("flood", "in", "out", "own", "core", "MB"), rows)
    problems = problems_of(phases)
    print_problems(problems, console)
    if not problems:
        console.print(
            f"No packet was more than {COSTS_AT_MOST_MS:g} ms late, and memory came back."
        )
