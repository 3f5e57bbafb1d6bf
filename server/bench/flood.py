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
from rich.table import Table

from server.bench.load.measured import Load
from server.bench.load.priority import ahead_of_others
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.statistics import Summary
from server.bench.systems import System

# The most that a flood may cost a packet, and the memory that may stay behind when it is over.
COSTS_AT_MOST_MS = 50.0
KEEPS_AT_MOST_MB = 20.0
# The flood is over so long before a measurement is.
OVER_BEFORE_SECS = 1.0
# The server's priority among the processes of its core: SCHED_RR would stall it for 50 ms in each
# second in which it is busy all the time.
FIRST_NICE = -20


@dataclass(frozen=True, slots=True)
class Flood:
    """So many connections at a time, each with so many requests; open for `holds_secs` more."""

    name: str
    path: str
    requests: int
    connections: int
    holds_secs: float


FLOODS = (
    Flood("requests", "/", 10_000, 10, 0.0),
    Flood("documents", "/openapi.json", 200, 50, 1.0),
    Flood("connections", "/", 1, 1_000, 0.0),
)


@dataclass(frozen=True, slots=True)
class Phase:
    """One measurement: `flood` is None while it is quiet. Memory in MB (10^6 bytes), afterwards."""

    flood: Flood | None
    rounds: int
    load: Load
    after_mb: float

    @property
    def name(self) -> str:
        """For people."""
        return "quiet" if self.flood is None else self.flood.name

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
            for flood in (None, *(each for one in FLOODS for each in (one, None))):
                tell("quiet" if flood is None else flood.name)
                phases.append(await _phase(stage, flood, options.secs - OVER_BEFORE_SECS))
    return phases


async def _phase(stage: LoadStage, flood: Flood | None, secs: float) -> Phase:
    if flood is None:
        return Phase(None, 0, await stage.measure(), stage.resident_mb)
    port = stage.server.url.rpartition(":")[2]
    words = (port, flood.path, flood.requests, flood.connections, flood.holds_secs, secs)
    # Started before anything is measured: to start a process stalls the load generator.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.bench.flooder", *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
    )
    load, (said, _) = await asyncio.gather(stage.measure(), process.communicate())
    return Phase(flood, int(said or 0), load, stage.resident_mb)


def problems_of(phases: Sequence[Phase]) -> list[str]:
    """What did not go as it should: calls, and floods that cost a packet or memory too much."""
    quiet = phases[0]
    problems = [f"{one.name}: {problem}" for one in phases for problem in one.load.problems]
    usual = {way: summary.p50 for way, summary in quiet.ways if summary is not None}
    for one in phases:
        if one.flood is not None and not one.rounds:
            problems.append(f"{one.name}: there was no flood")
        for way, summary in one.ways:
            if summary is None or way not in usual:
                problems.append(f"{one.name}: nothing came, {way}")
            elif (cost := summary.largest - usual[way]) > COSTS_AT_MOST_MS:
                problems.append(f"{one.name}: a packet was {cost:.0f} ms late, {way}")
        if not (one.load.up.is_whole and one.load.down.is_whole):
            problems.append(f"{one.name}: sound was lost")
    if (kept := phases[-1].after_mb - quiet.after_mb) > KEEPS_AT_MOST_MB:
        problems.append(f"{kept:.0f} MB stayed behind")
    return problems


def as_json(phases: Sequence[Phase]) -> dict[str, Any]:
    """Each phase, latencies in ms as `[p50, p99, largest]`."""
    told = [
        {"name": one.name, "rounds": one.rounds, "after_mb": one.after_mb}
        | {"core_share": one.load.core_share, "gaps": one.load.gaps}
        | {way: summary and _three(summary) for way, summary in one.ways}
        for one in phases
    ]
    return {"phases": told, "problems": problems_of(phases)}


def print_floods(phases: Sequence[Phase], console: Console) -> None:
    """Print the phases, and whether the floods cost what they may; `own` is our own lateness."""
    table = Table(title=f"{phases[0].load.calls} calls at once, ms at p50 / p99 / most")
    for column in ("flood", "in", "out", "own", "core", "MB"):
        table.add_column(column, no_wrap=True)
    for one in phases:
        late = one.load.cost.late_ms
        table.add_row(
            one.name,
            *("-" if summary is None else _text(summary) for _, summary in one.ways),
            "-" if late is None else f"{late.largest:.1f}",
            *(f"{one.load.core_share:.0%}", f"{one.after_mb:.0f}"),
        )
    console.print(table)
    problems = problems_of(phases)
    for problem in problems:
        console.print(problem, markup=False)
    if not problems:
        console.print(
            f"No packet was more than {COSTS_AT_MOST_MS:g} ms late, and memory came back."
        )


def _three(summary: Summary) -> tuple[float, float, float]:
    return summary.p50, summary.p99, summary.largest


def _text(summary: Summary) -> str:
    return " / ".join(f"{value:.1f}" for value in _three(summary))
