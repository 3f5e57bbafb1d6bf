"""What `voice-ai bench load` may be asked for: loads, soaks, or the cost of set-ups.

Each measures one system after the other and prints the result. `tell` hears how it goes on. All
return what was measured, ready for JSON, and what did not go as it should. They raise StageError
when a server does not start.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from server.bench.load import report
from server.bench.load.set_up import measure_set_up
from server.bench.load.soak import run_soak
from server.bench.load.stage import LoadOptions
from server.bench.load.sweep import run_sweep
from server.bench.systems import System

# Which systems are measured when none is named.
USUAL = (System.OURS, System.PLAIN, System.BRIDGE)

Systems = Sequence[System]
LoadResult = tuple[dict[str, Any], list[str]]
Tell = Callable[[str], None]


async def loads(
    systems: Systems,
    options: LoadOptions,
    tell: Tell,
    *,
    calls: Sequence[int],
    limit_step: int | None,
) -> LoadResult:
    """So many calls at once; with a `limit_step` also each system's limit."""
    sweep = await run_sweep(
        calls,
        systems,
        options,
        limit_step=limit_step,
        tell=lambda load: tell(report.one_line(load)),
    )
    report.print_sweep(sweep, Console())
    # A limit is found by loads that go wrong.
    return report.sweep_as_json(sweep), [one for load in sweep.loads for one in load.problems]


async def soaks(
    systems: Systems, options: LoadOptions, tell: Tell, *, calls: int, at_once: int
) -> LoadResult:
    """So many short calls, `at_once` of them at a time."""
    found = [
        await run_soak(one, options, calls=calls, at_once=at_once, tell=tell) for one in systems
    ]
    report.print_soaks(found, Console())
    return report.soaks_as_json(found), [one for each in found for one in each.problems]


async def set_ups(
    systems: Systems, options: LoadOptions, tell: Tell, *, calls: int, beside: int
) -> LoadResult:
    """The set-ups of so many calls, while others talk."""
    found = []
    for system in systems:
        tell(f"{system}: {calls} calls")
        found.append(await measure_set_up(system, options, calls=calls, beside=beside))
    report.print_set_ups(found, Console())
    return report.set_ups_as_json(found), [one for each in found for one in each.problems]
