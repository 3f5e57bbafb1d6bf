"""`voice-ai bench chaos`: a fault of Gemini's a call, ours beside the plain bot."""

from dataclasses import asdict
from importlib import import_module
from typing import Annotated

import typer

from server.cli.bench_options import JsonFile, write_json
from server.cli.environment import exit_without_package

# The table is wide, and a file has no edge.
FILE_WIDTH = 160


def chaos(
    only: Annotated[
        str, typer.Option(help="Play only the kinds that this regular expression is found in.")
    ] = "",
    system: Annotated[
        list[str] | None, typer.Option(help="ours or plain; by default both.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Calls at a time.")] = 2,
    json_file: JsonFile = None,
) -> None:
    """What a call comes through when Gemini fails.

    It drops, stalls, refuses or says nothing. Ours runs in virtual time, the plain bot in real
    time: each of its calls takes half a minute. The exit code is 1 when one of our calls lost
    something.
    """
    import_module("server.replay.quiet")
    try:
        from rich.console import Console

        from server.chaos.report import is_fine, print_chaos
        from server.chaos.run import OURS, PLAIN, ChaosOptions, run_chaos
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)
    systems = tuple(system or (OURS, PLAIN))
    if unknown := set(systems) - {OURS, PLAIN}:
        raise typer.BadParameter(f"no such system: {', '.join(sorted(unknown))}")
    options = ChaosOptions(only, systems, jobs)
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    progress = Console(stderr=True)
    result = run_chaos(options, lambda of, kind: progress.print(f"{of}: {kind}", style="dim"))
    print_chaos(result, options, console)
    found = result.verdicts.items()
    write_json(json_file, {f"{of}: {kind}": asdict(verdict) for (of, kind), verdict in found})
    ours = [verdict for (of, _), verdict in result.verdicts.items() if of == OURS]
    if result.broken or not all(map(is_fine, ours)):
        raise typer.Exit(1)
