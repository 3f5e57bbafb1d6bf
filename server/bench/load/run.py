"""Runs what `voice-ai bench load` is asked for, one system after the other, and prints it.

Everything returns what was measured, ready for JSON (docs/bench.md has the shapes), and what did
not go as it should. Everything raises StageError when a server does not start.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from server.bench.load.report import as_json, print_sweep
from server.bench.load.set_up import SetUp
from server.bench.load.soak import Soak
from server.bench.load.sweep import Sweep
from server.bench.systems import System
from server.bench.tables import print_problems

# Which systems are measured when none is named.
USUAL = (System.OURS, System.PLAIN, System.BRIDGE)

LoadResult = tuple[dict[str, Any], list[str]]


async def loads(sweeping: Awaitable[Sweep]) -> LoadResult:
    """So many calls at once, on each system."""
    sweep = await sweeping
    print_sweep(sweep, Console())
    # A limit is found by loads that go wrong.
    return as_json(sweep), [one for load in sweep.loads for one in load.problems]


async def one_by_one(
    kind: str, systems: Sequence[System], measure: Callable[[System], Awaitable[Soak | SetUp]]
) -> LoadResult:
    """Soaks, or set-ups: what is measured of each system is a text of its own."""
    return told(kind, [await measure(system) for system in systems], Console())


def told(kind: str, found: Sequence[Soak | SetUp], console: Console) -> LoadResult:
    """Print what was found of each system."""
    for one in found:
        console.print(f"[bold]{one.system}[/bold]: {one}")
        print_problems(one.problems, console, one.system)
    return {kind: [asdict(one) for one in found]}, [bad for one in found for bad in one.problems]
