"""Prints what went wrong in a bench: the first few problems, and how many there are in all."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

MOST = 10


def print_problems(label: str, problems: Sequence[str], console: Console) -> None:
    """One red line a problem, each beginning with `label`; no more than ten of them."""
    for problem in problems[:MOST]:
        console.print(f"[red]{label}: {escape(problem)}[/red]")
    if len(problems) > MOST:
        console.print(f"[red]{label}: {len(problems)} problems in all[/red]")
