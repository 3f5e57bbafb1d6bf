"""A load for people, as a table, and for programs, as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.bench.load.measured import Load
from server.bench.load.sweep import Sweep
from server.bench.loop_lag import LATE_MS
from server.bench.problems import print_problems
from server.bench.statistics import Summary
from server.bench.systems import System

NEVER = "–"
# A generator that takes more of its core than this is near its own limit.
BUSY_SHARE = 0.85
OTHERS_SHARE = 0.1

_COLUMNS = ("calls", "in", "out", "gaps", "lost", "CPU\ns", "×\nbridge", "×\nplain", "core", "MB")
# The widest that stay on one line: with the other columns, these fill a terminal of 80 characters.
_TIMES_WIDTH, _LOST_WIDTH = len("0.4/0.6/0.6"), len("12, 1234")
_LEGEND = (
    "in: ms from a caller's packet until Gemini holds it; out: ms from a reply's first chunk until "
    "Twilio has its first packet; lost: markers that never came or came wrong, and ms of sound, "
    "both ways; CPU s: per call-minute, and as a multiple of a reference's; core: of the server's; "
    "MB: per call."
)


def print_sweep(sweep: Sweep, console: Console) -> None:
    """The table, and every sentence that it needs beside it."""
    if sweep.loads:
        console.print(_table(sweep))
        console.print(_LEGEND)
    for load in sweep.all_loads():
        for sentence in remarks(load):
            console.print(sentence)
        print_problems(_name(load), load.problems, console)
    for system, limit in sweep.limits.items():
        says = f"[bold]{system.label} carries {limit.calls} calls on one core[/bold]"
        console.print(f"{says}; then: {escape('; '.join(limit.then)) or 'no more were tried'}")
    if sweep.options.cores is None:
        console.print("Server and load generator shared their cores.")


def _table(sweep: Sweep) -> Table:
    table = Table(
        title="in, out: p50/p95/p99 in ms", title_justify="left", padding=(0, 0), pad_edge=False
    )
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for by_system in sweep.loads.values():
        table.add_section()
        for load in by_system.values():
            table.add_row(
                f"{load.calls} {load.system}".replace("-", "-\n"),
                _within(_TIMES_WIDTH, _times(load.up.ms), "/"),
                _within(_TIMES_WIDTH, _times(load.first_chunk_ms), "/"),
                str(load.gaps),
                _within(_LOST_WIDTH, _lost(load), ", "),
                f"{load.cpu_per_call_minute:.2f}",
                _ratio(sweep.cpu_ratio(load, System.BRIDGE)),
                _ratio(sweep.cpu_ratio(load, System.PLAIN)),
                f"{load.core_share:.0%}",
                f"{load.mb_per_call:.1f}",
            )
    return table


def one_line(load: Load) -> str:
    """A load as it is measured, for who waits for the table."""
    return (
        f"{_name(load)}: in {_times(load.up.ms)} ms, "
        f"out {_times(load.first_chunk_ms)} ms, {load.gaps} gaps, lost {_lost(load)}, "
        f"{load.core_share:.0%} of a core"
    )


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {
        "options": asdict(sweep.options),
        "loads": [
            asdict(load)
            | {
                "cpu_per_call_minute": load.cpu_per_call_minute,
                "core_share": load.core_share,
                "mb_per_call": load.mb_per_call,
                "cpu_ratio_to_bridge": sweep.cpu_ratio(load, System.BRIDGE),
                "cpu_ratio_to_plain": sweep.cpu_ratio(load, System.PLAIN),
                "generator_was_limit": generator_was_limit(load),
                "others_were_there": others_were_there(load),
            }
            for load in sweep.all_loads()
        ],
        "limits": {
            str(system): {"calls": limit.calls, "then": limit.then}
            for system, limit in sweep.limits.items()
        },
    }


def generator_was_limit(load: Load) -> bool:
    """Whether the load generator was too late or too busy for the figures to be the server's."""
    late = load.cost.late_ms
    return load.cost.generator_share > BUSY_SHARE or (late is not None and late.p99 > LATE_MS)


def others_were_there(load: Load) -> bool:
    """Whether somebody else used the server's core: its CPU time and latencies hold that too."""
    return (load.cost.others_share or 0.0) > OTHERS_SHARE


def remarks(load: Load) -> list[str]:
    """What has to be said of a load's figures."""
    name = _name(load)
    cost = load.cost
    said = []
    if generator_was_limit(load):
        late_ms = cost.late_ms.p99 if cost.late_ms else 0.0
        said.append(
            f"[yellow]{name}: the load generator was the limit, with {cost.generator_share:.0%} of "
            f"its core and {late_ms:.1f} ms late at p99: the figures hold that too[/yellow]"
        )
    if others_were_there(load):
        said.append(
            f"[yellow]{name}: others took {cost.others_share:.0%} of the server's core; "
            "--priority keeps them waiting[/yellow]"
        )
    if load.own_gaps:
        said.append(f"{name}: {load.own_gaps} more gaps came with a stall of the load generator")
    return said


def _name(load: Load) -> str:
    return f"{load.calls} × {load.system.label}"


def _lost(load: Load) -> str:
    ways = (load.up, load.down)
    markers = sum(way.lost + way.strange for way in ways)
    return f"{markers}, {sum(way.missing_ms for way in ways):.0f}"


def _times(summary: Summary | None) -> str:
    if summary is None:
        return NEVER
    return "/".join(_number(value) for value in (summary.p50, summary.p95, summary.p99))


def _within(width: int, figures: str, mark: str) -> str:
    """On one line, or with a line for each figure where that is wider."""
    return figures if len(figures) <= width else figures.replace(mark, f"{mark.rstrip()}\n")


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
