"""`voice-ai bench flood`: what floods of requests without a key cost live calls."""

import asyncio
from importlib import import_module
from typing import Annotated

import typer

from server.cli.bench_options import JsonFile, Pin, write_json
from server.cli.environment import echo, echo_lines, exit_without_package


def flood(
    calls: Annotated[int, typer.Option(min=1, max=500, help="Calls at once.")] = 20,
    secs: Annotated[float, typer.Option(min=3, help="Seconds measured in each phase.")] = 15.0,
    pin: Pin = True,
    priority: Annotated[
        bool, typer.Option(help="Run ahead of all other work on this machine, where allowed.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """What floods of requests without a key cost live calls.

    Told are how late each packet is, and the memory. The exit code is 1 when a packet was more
    than 50 ms late, or a call went wrong.
    """
    import_module("server.replay.quiet")
    try:
        import uvloop
        from rich.console import Console

        from server.bench.alone import alone
        from server.bench.cores import shared_out, staying_on
        from server.bench.flood import as_json, measure_floods, print_floods, problems_of
        from server.bench.load.priority import NoPriority
        from server.bench.load.stage import LoadOptions
        from server.demo.stage import StageError
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    options = LoadOptions(secs, cores=shared_out() if pin else None)

    def tell(line: str) -> None:
        echo(line, err=True)

    try:
        with (
            alone(lambda: tell("Another bench runs on this machine; waiting.")),
            staying_on(options.cores.load if options.cores else None),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            phases = runner.run(measure_floods(calls, options, priority=priority, tell=tell))
    except (StageError, NoPriority, PermissionError) as error:
        echo_lines(f"The bench did not run:\n{error}", err=True)
        raise typer.Exit(1) from None
    print_floods(phases, Console())
    write_json(json_file, as_json(phases))
    if problems_of(phases):
        raise typer.Exit(1)
