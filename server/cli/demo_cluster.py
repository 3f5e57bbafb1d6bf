"""`voice-ai demo-cluster`: three instances under calls: one is killed, one frozen, one drained."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.cli.environment import echo, exit_without_package

if TYPE_CHECKING:
    from server.demo.cluster_calls import Heard


def demo_cluster(
    calls: Annotated[int, typer.Option(min=1, max=30, help="How many calls are placed.")] = 6,
) -> None:
    """Kill, freeze and drain instances under calls.

    There are three, one for each; what callers heard is told.
    """
    try:
        from server.demo.cluster import run_cluster
        from server.demo.stage import StageError
        from server.demo.valkey import NoValkey
    except ModuleNotFoundError as error:
        exit_without_package("The demo", error)
    try:
        heard = asyncio.run(run_cluster(echo, calls=calls))
    except NoValkey as error:
        echo(f"There is no Valkey server: {error}.", err=True)
        raise typer.Exit(1) from None
    except StageError as error:
        echo(f"A process did not start:\n{error}", err=True)
        raise typer.Exit(1) from None
    Console(soft_wrap=False).print(_table(heard))
    problems = [f"{call.number} {call.problem}" for call in heard if call.problem]
    for problem in problems:
        echo(f"WRONG: {problem}", err=True)
    if problems:
        echo(f"{len(problems)} of {len(heard)} calls were lost or broken.", err=True)
        raise typer.Exit(1)
    moved = sum(bool(call.struck) for call in heard)
    longest = max(call.silence_secs for call in heard)
    back = max((call.back_secs or 0.0 for call in heard), default=0.0)
    echo(
        f"{len(heard)} calls, {moved} moved, none lost: the agent was back after at most "
        f"{back:.1f} s; longest silence {longest:.1f} s."
    )


def _table(heard: "list[Heard]") -> Table:
    table = Table(
        "call",
        "its instance was",
        "streams",
        "agent back after",
        "longest silence",
        "greeted",
        "outcome",
    )
    for call in heard:
        table.add_row(
            call.number,
            call.struck or "left alone",
            str(call.streams),
            "" if call.back_secs is None else f"{call.back_secs:.1f} s",
            f"{call.silence_secs:.1f} s",
            str(call.greetings),
            call.outcome,
        )
    return table
