"""What a call's set-up costs, for people as a table, and for programs as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from server.bench.load.set_up import SetUp
from server.bench.problems import print_problems


def print_set_ups(set_ups: list[SetUp], console: Console) -> None:
    """A row for each system, and below it what went wrong."""
    table = Table(title="CPU ms of a call's set-up", title_justify="left")
    table.add_column("system")
    for name in ("calls", "a call", "its rounds", "beside", "these, ms/s"):
        table.add_column(name, justify="right")
    for one in set_ups:
        rounds = [each.cpu_ms_per_call for each in one.rounds]
        others = sum(each.others_ms_per_sec for each in one.rounds) / len(one.rounds)
        table.add_row(
            one.system.label,
            str(one.calls),
            f"{one.cpu_ms_per_call:.1f}",
            f"{min(rounds):.1f} to {max(rounds):.1f}",
            str(one.beside),
            f"{others:.0f}",
        )
    console.print(table)
    console.print(
        "beside: calls that talk meanwhile, and what these take a second, which is taken off."
    )
    for one in set_ups:
        print_problems(one.system.label, one.problems, console)


def set_ups_as_json(set_ups: list[SetUp]) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {
        "set_ups": [
            asdict(one) | {"calls": one.calls, "cpu_ms_per_call": one.cpu_ms_per_call}
            for one in set_ups
        ]
    }
