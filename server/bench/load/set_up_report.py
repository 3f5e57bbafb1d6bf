"""What a call's set-up costs, for people as a table, and for programs as JSON."""

from dataclasses import asdict
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.bench.load.set_up_cost import SetUpCost
from server.bench.statistics import Summary

MOST_WRONG = 10
# Of fewer windows, a half says nothing.
LEAST_IN_HALF = 2


def print_set_ups(costs: list[SetUpCost], console: Console) -> None:
    """A row for each server, and below it what went wrong."""
    beside = max((cost.beside for cost in costs), default=0)
    console.print("CPU ms for a call: p50 (smallest to p95)")
    if beside:
        console.print(f"while {beside} others talk, which take so many ms a second: others")
    else:
        console.print("one by one, nobody talks; the server alone takes so many ms a second: idle")
    table = Table(padding=(0, 0), pad_edge=False)
    table.add_column("system")
    for name in ("calls", "first sound", "set-up", "end", "others" if beside else "idle"):
        if name != "first sound" or not beside:
            table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        first_sound = [] if beside else [_figures(cost.first_sound_cpu_ms)]
        table.add_row(
            cost.contestant.label,
            str(cost.calls),
            *first_sound,
            _figures(cost.setup_cpu_ms),
            _figures(cost.end_cpu_ms),
            f"{cost.idle_ms_per_sec:.1f}",
        )
    console.print(table)
    for cost in costs:
        console.print(f"{cost.contestant.label}: {_steadiness(cost)}")
    if any(cost.awake for cost in costs):
        console.print("the server's core was kept awake")
    for cost in costs:
        for wrong in cost.went_wrong[:MOST_WRONG]:
            console.print(f"[red]{cost.contestant.label}: {escape(wrong)}[/red]")
        if len(cost.went_wrong) > MOST_WRONG:
            console.print(f"[red]{cost.contestant.label}: {len(cost.went_wrong)} in all[/red]")


def set_ups_as_json(costs: list[SetUpCost]) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {"set_ups": [asdict(cost) | {"idle_ms_per_sec": cost.idle_ms_per_sec} for cost in costs]}


def _steadiness(cost: SetUpCost) -> str:
    """How far apart the windows lay whose median is taken off, and whether it drifted."""
    each = cost.idle_each_ms_per_sec
    if not each:
        return "no window without a call"
    said = (
        f"{'others' if cost.beside else 'idle'} {_ms(min(each))} to {_ms(max(each))} "
        f"in {len(each)} windows"
    )
    half = len(each) // 2
    if half < LEAST_IN_HALF:
        return said
    return (
        f"{said}, median {_ms(median(each[:half]))} at first, {_ms(median(each[-half:]))} at last"
    )


def _figures(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    return f"{_ms(summary.p50)} ({_ms(summary.smallest)} to {_ms(summary.p95)})"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
