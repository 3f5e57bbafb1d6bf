"""`voice-ai bench load`: how many calls a core carries, and what they cost."""

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from server.cli.environment import exit_without_package


def load(
    calls: Annotated[
        str, typer.Option(help="Calls at once; several with commas, or none.")
    ] = "1,10,25,50,100",
    secs: Annotated[float, typer.Option(min=1, help="Seconds measured under each load.")] = 20.0,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="ours, plain, bridge or plain-starter; as often as there are systems to measure. "
            "By default: ours, plain and bridge."
        ),
    ] = None,
    find_limit: Annotated[
        bool, typer.Option("--find-limit", help="Add calls until a target breaks.")
    ] = False,
    step: Annotated[int, typer.Option(min=1, help="So many at a time, with --find-limit.")] = 10,
    soak: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of all that: so many short calls on each system."),
    ] = None,
    at_once: Annotated[
        int, typer.Option(min=1, max=500, help="So many of them at a time, with --soak.")
    ] = 20,
    set_up: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of all that: what so many calls' set-up costs."),
    ] = None,
    beside: Annotated[
        int, typer.Option(min=0, max=500, help="So many others talk meanwhile, with --set-up.")
    ] = 0,
    awake: Annotated[
        bool,
        typer.Option("--awake", help="Have the server's core never sleep, with --set-up."),
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="A setting of ours, as NAME=VALUE; as often as there are some."),
    ] = None,
    warm_up: Annotated[
        bool, typer.Option(help="Have one call first on each system that is not counted.")
    ] = True,
    pin: Annotated[
        bool, typer.Option(help="Keep the server to a core of its own, where there are two.")
    ] = True,
    priority: Annotated[
        bool,
        typer.Option(help="Run ahead of all other work on this machine, where that is allowed."),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file, too.")
    ] = None,
) -> None:
    """How many calls a core carries, and what they cost, beside both references.

    The exit code is 1 when a call did not go as it should.
    """
    import_module("server.replay.quiet")
    try:
        import uvloop
        from rich.console import Console

        from server.bench.alone import alone
        from server.bench.load.awake import NotAwake
        from server.bench.load.contestants import USUAL, Contestant
        from server.bench.load.markers import MOST_CALLS
        from server.bench.load.measured import Load
        from server.bench.load.priority import NoPriority, ahead_of_others
        from server.bench.load.report import as_json, one_line, print_sweep
        from server.bench.load.set_up import measure_set_up
        from server.bench.load.set_up_beside import measure_set_up_beside
        from server.bench.load.set_up_cost import SetUpOptions
        from server.bench.load.set_up_report import print_set_ups, set_ups_as_json
        from server.bench.load.soak import SoakOptions, run_soak
        from server.bench.load.soak_report import print_sample, print_soaks, soaks_as_json
        from server.bench.load.stage import LoadOptions
        from server.bench.load.sweep import run_sweep
        from server.demo.stage import StageError
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    try:
        counts = tuple(int(count) for count in calls.split(",") if count.strip())
    except ValueError:
        raise typer.BadParameter(f"--calls {calls}: numbers with commas") from None
    if min(counts, default=1) < 1 or max(counts, default=1) >= MOST_CALLS:
        raise typer.BadParameter(f"--calls {calls}: at least one call, less than {MOST_CALLS}")
    try:
        systems = tuple(dict.fromkeys(Contestant(name) for name in system or USUAL))
    except ValueError:
        given, known = ", ".join(system or ()), ", ".join(Contestant)
        raise typer.BadParameter(f"--system {given}: there are {known}") from None

    if beside and set_up is None:
        raise typer.BadParameter("--beside: only with --set-up")
    if awake and set_up is None:
        # A load's core is said to be full, or shared with others, by what runs on it.
        raise typer.BadParameter("--awake: only with --set-up")
    for given in setting or ():
        if not given.partition("=")[0] or "=" not in given:
            raise typer.BadParameter(f"--setting {given}: NAME=VALUE is needed")
    settings = dict(given.partition("=")[::2] for given in setting or ())

    def waits() -> None:
        typer.echo("Another bench runs on this machine; waiting.", err=True)

    def tell(measured: Load) -> None:
        typer.echo(one_line(measured), err=True)

    options = LoadOptions(secs, warm_up=warm_up, settings=settings)
    console = Console()
    try:
        with (
            alone(waits),
            ahead_of_others(priority),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            if set_up is not None:
                asked = SetUpOptions(set_up, awake=awake, settings=settings)
                costs = []
                for one in systems:
                    typer.echo(f"{one.label}: {set_up} calls", err=True)
                    measuring = (
                        measure_set_up_beside(one, asked, beside, pin=pin)
                        if beside
                        else measure_set_up(one, asked, pin=pin)
                    )
                    costs.append(runner.run(measuring))
                print_set_ups(costs, console)
                written = set_ups_as_json(costs)
                failed = any(one.went_wrong for one in costs)
            elif soak is not None:
                soaks = [
                    runner.run(
                        run_soak(
                            one,
                            SoakOptions(soak, at_once, settings=settings),
                            pin=pin,
                            tell=print_sample,
                        )
                    )
                    for one in systems
                ]
                print_soaks(soaks, console)
                written = soaks_as_json(soaks)
                failed = any(one.went_wrong for one in soaks)
            else:
                limit_step = step if find_limit else None
                sweep = runner.run(
                    run_sweep(counts, systems, options, limit_step=limit_step, pin=pin, tell=tell)
                )
                print_sweep(sweep, console)
                written = as_json(sweep)
                failed = any(one.problems for one in sweep.swept())
    except NoPriority as error:
        typer.echo(f"--priority: {error}.", err=True)
        raise typer.Exit(1) from None
    except NotAwake as error:
        typer.echo(f"--awake: {error}.", err=True)
        raise typer.Exit(1) from None
    except StageError as error:
        typer.echo(f"The server did not start:\n{error}", err=True)
        raise typer.Exit(1) from None
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if failed:
        raise typer.Exit(1)
