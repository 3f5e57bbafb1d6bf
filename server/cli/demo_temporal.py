"""`voice-ai demo-temporal`: many lives over a real Temporal server, whose worker is killed."""

import asyncio
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.cli.environment import echo, exit_without_package

if TYPE_CHECKING:
    from server.demo.durable import Durable


def demo_temporal(
    calls: Annotated[int, typer.Option(min=2, max=2000, help="How many calls are placed.")] = 20,
    faults: Annotated[
        bool, typer.Option(help="Twilio's REST API fails now and then, at random.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of what is random.")] = 1,
) -> None:
    """Kill the Temporal worker in the middle of calls.

    There are calls of all kinds, and how each of them ended is judged.
    """
    try:
        from server.demo.durable import run_durable
        from server.demo.stage import StageError
        from server.demo.temporal_server import NoTemporalServer
    except ModuleNotFoundError as error:
        exit_without_package("The demo", error)
    try:
        durable = asyncio.run(run_durable(echo, calls=calls, faults=faults, seed=seed))
    except NoTemporalServer as error:
        echo(f"There is no Temporal server: {error}.", err=True)
        raise typer.Exit(1) from None
    except StageError as error:
        echo(f"A process did not start:\n{error}", err=True)
        raise typer.Exit(1) from None
    Console(soft_wrap=False).print(_table(durable))
    costs = [lived.cost for lived in durable.calls if lived.cost]
    for name in ("actions", "events", "size_bytes"):
        values = [getattr(cost, name) for cost in costs]
        echo(
            f"{name.replace('_', ' ')} of a history: median {median(values):g}, most {max(values)}"
        )
    for problem in durable.problems:
        echo(f"WRONG: {problem}", err=True)
    if durable.problems:
        raise typer.Exit(1)
    echo(
        f"{calls} calls: each ended in exactly one outcome, none was dialled twice, none is stuck."
    )


def _table(durable: "Durable") -> Table:
    table = Table("kind", "calls", "outcome", "at Twilio", "dialled", "ended")
    rows: dict[tuple[str, ...], int] = {}
    for lived in durable.calls:
        outcome = f"{lived.status} ({lived.end_reason})"
        key = (
            lived.planned.kind.name.lower().replace("_", " "),
            outcome,
            lived.at_twilio or "refused",
            str(lived.dialled),
            str(lived.endings),
        )
        rows[key] = rows.get(key, 0) + 1
    for (kind, outcome, at_twilio, dialled, endings), count in sorted(rows.items()):
        table.add_row(kind, str(count), outcome, at_twilio, dialled, endings)
    return table
