"""`voice-ai bench`: measures the system between both emulated vendors, beside its references."""

import asyncio
from importlib import import_module
from typing import Annotated

import typer

from server.cli.bench_audio import audio
from server.cli.bench_chaos import chaos
from server.cli.bench_flood import flood
from server.cli.bench_load import load
from server.cli.bench_options import (
    JsonFile,
    Pin,
    chosen_systems,
    refusals_in_words,
    write_json,
)
from server.cli.bench_relay import relay
from server.cli.environment import exit_without_package

app = typer.Typer(no_args_is_help=True)
app.command()(audio)
app.command()(chaos)


@app.callback()
def bench() -> None:
    """Measure this system, beside a plain Pipecat bot.

    Both vendors are emulated.
    """


@app.command()
def latency(
    calls: Annotated[int, typer.Option(min=1, help="Calls that each system is measured by.")] = 20,
    at_once: Annotated[int, typer.Option(min=1, max=500, help="Calls at a time.")] = 1,
    warm_up: Annotated[
        int, typer.Option(min=0, max=100, help="Calls before these, which are not counted.")
    ] = 1,
    ring: Annotated[float, typer.Option(min=0, help="Seconds that the phone rings.")] = 3.0,
    setup: Annotated[
        float, typer.Option(min=0, help="Seconds that Gemini takes to open a session.")
    ] = 2.0,
    thinking: Annotated[
        float, typer.Option(min=0, help="Seconds that Gemini thinks before it speaks.")
    ] = 0.5,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="warm, cold, cached, plain or plain-starter; as often as there are systems to "
            "measure. By default: warm, cold and plain."
        ),
    ] = None,
    pin: Pin = True,
    json_file: JsonFile = None,
) -> None:
    """How long a caller waits.

    For the first word, for answers, and for silence after a barge-in. The exit code is 1 when a
    call did not go as it should.
    """
    import_module("server.replay.quiet")
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        from server.bench.latency import USUAL, BenchOptions, run_latency
        from server.bench.latency_report import as_json, print_result
        from server.bench.systems import System
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    systems = chosen_systems(system, USUAL)
    options = BenchOptions(calls, at_once, warm_up, ring, setup, thinking, pin, systems)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        refusals_in_words(),
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        bars = {one: progress.add_task(one, total=calls, start=False) for one in systems}

        def tell(one: System, done: int) -> None:
            progress.start_task(bars[one])
            progress.update(bars[one], completed=done)

        result = asyncio.run(run_latency(options, tell))
    print_result(result, Console())
    write_json(json_file, as_json(result))
    if any(measured.problems for measured in result.systems.values()):
        raise typer.Exit(1)


app.command()(flood)
app.command()(load)
app.command()(relay)
