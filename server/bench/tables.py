"""What the reports of all benches share: a table, the problems below it, and figures as text."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.bench.statistics import Summary

NEVER = "–"
MOST_PROBLEMS = 10


def print_table(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    names: int = 1,
    **look: Any,
) -> None:
    """Print rows of text: so many columns of names, and all others are figures.

    An empty row draws a line. `look` is for rich's `Table`.
    """
    table = Table(title=title, title_justify="left", **look)
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < names else "right")
    for row in rows:
        if row:
            table.add_row(*row)
        else:
            table.add_section()
    console.print(table)


def print_problems(problems: Sequence[str], console: Console, label: str = "") -> None:
    """One red line a problem, each beginning with `label`; no more than ten of them."""
    name = f"{label}: " if label else ""
    for problem in problems[:MOST_PROBLEMS]:
        console.print(f"[red]{name}{escape(problem)}[/red]")
    if len(problems) > MOST_PROBLEMS:
        console.print(f"[red]{name}{len(problems)} problems in all[/red]")


def told(summary: Summary | None, *names: str) -> str:
    """Some figures of a summary by their names, as `0.4/12`."""
    return "/".join(number(getattr(summary, name)) for name in names) if summary else NEVER


def number(value: float) -> str:
    """A figure with one digit behind the point, or with none: whole numbers, and from 10 on."""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 9.95 else f"{value:.1f}"
