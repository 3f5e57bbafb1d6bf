"""What a call's set-up costs, for people as a table, and for programs as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.bench.load.set_up import SetUpCost
from server.bench.statistics import Summary

MOST_WRONG = 10


def print_set_ups(costs: list[SetUpCost], console: Console) -> None:
    """A row for each server, and below it what went wrong."""
    title = "ms of CPU for a call: p50 (smallest to p95); idle: a second without a call"
    table = Table(title=title, title_justify="left", padding=(0, 0), pad_edge=False)
    for name in ("system", "calls", "first sound", "set-up ms", "end", "idle"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(
            cost.contestant.label,
            str(cost.setup_cpu_ms.count if cost.setup_cpu_ms else 0),
            _figures(cost.first_sound_cpu_ms),
            _figures(cost.setup_cpu_ms),
            _figures(cost.end_cpu_ms),
            f"{cost.idle_ms_per_sec:.1f}",
        )
    console.print(table)
    for cost in costs:
        for wrong in cost.went_wrong[:MOST_WRONG]:
            console.print(f"[red]{cost.contestant.label}: {escape(wrong)}[/red]")
        if len(cost.went_wrong) > MOST_WRONG:
            console.print(f"[red]{cost.contestant.label}: {len(cost.went_wrong)} in all[/red]")


def set_ups_as_json(costs: list[SetUpCost]) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {"set_ups": [asdict(cost) for cost in costs]}


def _figures(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    return f"{summary.p50:.1f} ({summary.smallest:.1f} to {summary.p95:.1f})"
