"""`voice-ai bench relay`: what it adds to pass a call on to another instance."""

from importlib import import_module
from typing import Annotated

import typer

from server.cli.bench_options import Calls, JsonFile, Pin, Priority, refusals_in_words, write_json
from server.cli.environment import echo, exit_without_package


def relay(
    calls: Calls = 20,
    secs: Annotated[float, typer.Option(min=1, help="Seconds measured, each time.")] = 10.0,
    pin: Pin = True,
    priority: Priority = False,
    json_file: JsonFile = None,
) -> None:
    """What passing calls on to another instance adds.

    That is latency of each packet, and CPU. The exit code is 1 when a call did not go as it should.
    """
    import_module("server.replay.quiet")
    try:
        from rich.console import Console

        from server.bench.load.stage import LoadOptions
        from server.bench.machine import run_alone, shared_out
        from server.bench.relay import as_json, measure_relay, print_relay
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    options = LoadOptions(secs, cores=shared_out() if pin else None)

    def tell(line: str) -> None:
        echo(line, err=True)

    with refusals_in_words():
        result = run_alone(
            lambda: measure_relay(calls, options, tell),
            options.cores,
            priority=priority,
            tell=tell,
        )
    print_relay(result, Console())
    write_json(json_file, as_json(result))
    if result.problems:
        raise typer.Exit(1)
