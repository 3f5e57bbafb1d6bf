"""`voice-ai bench flood`: what floods of requests without a key cost live calls."""

from importlib import import_module
from typing import Annotated

import typer

from server.cli.bench_options import Calls, JsonFile, Pin, Priority, refusals_in_words, write_json
from server.cli.environment import echo, exit_without_package


def flood(
    calls: Calls = 20,
    secs: Annotated[float, typer.Option(min=3, help="Seconds measured in each phase.")] = 15.0,
    pin: Pin = True,
    priority: Priority = False,
    json_file: JsonFile = None,
) -> None:
    """What floods of requests without a key cost live calls.

    Told are how late each packet is, and the memory. The exit code is 1 when a packet was more
    than 50 ms late, or a call went wrong.
    """
    import_module("server.replay.quiet")
    try:
        from rich.console import Console

        from server.bench.flood import as_json, measure_floods, print_floods, problems_of
        from server.bench.load.stage import LoadOptions
        from server.bench.machine import run_alone, shared_out
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    options = LoadOptions(secs, cores=shared_out() if pin else None)

    def tell(line: str) -> None:
        echo(line, err=True)

    with refusals_in_words():
        phases = run_alone(
            lambda: measure_floods(calls, options, priority=priority, tell=tell),
            options.cores,
            priority=False,  # the server is started at a priority of its own
            tell=tell,
        )
    print_floods(phases, Console())
    write_json(json_file, as_json(phases))
    if problems_of(phases):
        raise typer.Exit(1)
