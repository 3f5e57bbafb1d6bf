"""Loads for people, as a table, and for programs, as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from server.bench.load.measured import Load
from server.bench.load.sweep import Sweep
from server.bench.systems import System
from server.bench.tables import print_problems, print_table, told

_COLUMNS = ("calls", "in", "out", "gaps", "lost", "CPU\ns", "×\nbridge", "×\nplain", "core", "MB")
_LEGEND = (
    "in: ms from a caller's packet until Gemini holds it; out: ms from a reply's first chunk until "
    "Twilio has its first packet; lost: markers that never came or came wrong, and ms of sound, "
    "both ways; CPU s: per call-minute, and as a multiple of a reference's; core: of the server's; "
    "MB: per call."
)
_REFERENCES = (System.BRIDGE, System.PLAIN)
# What is told of a load beside its fields.
_DERIVED = (
    *("cpu_per_call_minute", "core_share", "mb_per_call"),
    *("generator_was_limit", "others_were_there"),
)


def print_sweep(sweep: Sweep, console: Console) -> None:
    """The table, and every sentence that it needs beside it."""
    if sweep.loads:
        # With these columns a terminal of 80 characters is full.
        tight: dict[str, Any] = {"padding": (0, 0), "pad_edge": False}
        print_table(console, "in, out: p50/p99 in ms", _COLUMNS, _rows(sweep), **tight)
        console.print(_LEGEND)
    for load in (*sweep.loads, *sweep.searched):
        for sentence in _remarks(load):
            console.print(sentence)
        print_problems(load.problems, console, load.name)
    for system, limit in sweep.limits.items():
        says = f"[bold]{system} carries {limit.calls} calls on one core[/bold]"
        console.print(f"{says}; then: {escape('; '.join(limit.then)) or 'no more were tried'}")
    if sweep.options.cores is None:
        console.print("Server and load generator shared their cores.")


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {
        "options": asdict(sweep.options),
        "loads": [
            asdict(load)
            | {name: getattr(load, name) for name in _DERIVED}
            | {f"cpu_ratio_to_{one}": sweep.cpu_ratio(load, one) for one in _REFERENCES}
            for load in (*sweep.loads, *sweep.searched)
        ],
        "limits": {system: asdict(limit) for system, limit in sweep.limits.items()},
    }


def _rows(sweep: Sweep) -> Iterator[Sequence[str]]:
    before = None
    for load in sweep.loads:
        if load.calls != before:
            yield ()
        before = load.calls
        yield (
            f"{load.calls} {load.system}".replace("-", "-\n"),
            told(load.up.ms, "p50", "p99"),
            told(load.first_chunk_ms, "p50", "p99"),
            str(load.gaps),
            load.lost,
            f"{load.cpu_per_call_minute:.2f}",
            *(_ratio(sweep.cpu_ratio(load, one)) for one in _REFERENCES),
            f"{load.core_share:.0%}",
            f"{load.mb_per_call:.1f}",
        )


def _remarks(load: Load) -> Iterator[str]:
    """What has to be said of a load's figures."""
    name, cost = load.name, load.cost
    if load.generator_was_limit:
        late_ms = cost.late_ms.p99 if cost.late_ms else 0.0
        yield (
            f"[yellow]{name}: the load generator was the limit, with {cost.generator_share:.0%} of "
            f"its core and {late_ms:.1f} ms late at p99: the figures hold that too[/yellow]"
        )
    if load.others_were_there:
        yield (
            f"[yellow]{name}: others took {cost.others_share:.0%} of the server's core; "
            "--priority keeps them waiting[/yellow]"
        )
    if load.own_gaps:
        yield f"{name}: {load.own_gaps} more gaps came with a stall of the load generator"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
