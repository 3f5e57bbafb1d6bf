"""A load for people, as a table, and for programs, as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.bench.load.contestants import Contestant
from server.bench.load.run import Load
from server.bench.load.sweep import Sweep
from server.bench.loop_lag import LATE_MS
from server.bench.statistics import Summary

NEVER = "–"
# A generator that takes more of its core than this is near its own limit.
BUSY_SHARE = 0.85
MOST_PROBLEMS = 10

_COLUMNS = ("calls", "in", "out", "gaps", "lost", "CPU s", "×bridge", "×plain", "core", "MB")
_LEGEND = (
    "in: a caller's packet until Gemini holds it; out: a reply's first chunk until Twilio has its "
    "first packet; lost: markers that never came or came wrong, and ms of sound, both ways; "
    "CPU s: per call-minute; MB: per call."
)


def print_sweep(sweep: Sweep, console: Console) -> None:
    """The table, and every sentence that it needs beside it."""
    table = Table(title="ms: p50 / p95 / p99", title_justify="left", padding=(0, 0), pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=name not in ("in", "out"))
    for by_contestant in sweep.loads.values():
        table.add_section()
        for load in by_contestant.values():
            table.add_row(
                f"{load.calls} {load.contestant}",
                _times(load.up_ms),
                _times(load.down_ms),
                str(load.gaps),
                _lost(load),
                f"{load.cpu_per_call_minute:.2f}",
                _ratio(sweep.cpu_ratio(load, Contestant.BRIDGE)),
                _ratio(sweep.cpu_ratio(load, Contestant.PLAIN)),
                f"{load.core_share:.0%}",
                f"{load.mb_per_call:.1f}",
            )
    console.print(table)
    for by_contestant in sweep.loads.values():
        for load in by_contestant.values():
            for sentence in _remarks(load):
                console.print(sentence)
    console.print(_LEGEND)
    if sweep.cores is None:
        console.print("Server and load generator shared their cores.")


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    cores = sweep.cores
    return {
        "options": asdict(sweep.options),
        "cores": cores and {"server": sorted(cores.server), "load": sorted(cores.load)},
        "loads": [
            asdict(load)
            | {
                "generator_was_limit": was_limit(load),
                "cpu_ratio_to_bridge": sweep.cpu_ratio(load, Contestant.BRIDGE),
                "cpu_ratio_to_plain": sweep.cpu_ratio(load, Contestant.PLAIN),
            }
            for by_contestant in sweep.loads.values()
            for load in by_contestant.values()
        ],
    }


def was_limit(load: Load) -> bool:
    """Whether the load generator was too late or too busy for the figures to be the server's."""
    late = load.generator_late_ms
    return load.generator_share > BUSY_SHARE or (late is not None and late.p99 > LATE_MS)


def _remarks(load: Load) -> list[str]:
    name = f"{load.calls} × {load.contestant.label}"
    remarks = []
    if was_limit(load):
        late = load.generator_late_ms
        remarks.append(
            f"[yellow]{name}: the load generator was the limit: {load.generator_share:.0%} of its "
            f"core, {late.p99 if late else 0:.1f} ms late at p99; the figures hold that too[/yellow]"
        )
    for problem in load.problems[:MOST_PROBLEMS]:
        remarks.append(f"[red]{name}: {escape(problem)}[/red]")
    if len(load.problems) > MOST_PROBLEMS:
        remarks.append(f"[red]{name}: … {len(load.problems)} problems[/red]")
    return remarks


def _lost(load: Load) -> str:
    markers = load.lost_up + load.lost_down + load.mixed_up
    return f"{markers}, {load.missing_up_ms + load.missing_down_ms:.0f}"


def _times(summary: Summary | None) -> str:
    if summary is None:
        return NEVER
    return "/".join(_number(value) for value in (summary.p50, summary.p95, summary.p99))


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
