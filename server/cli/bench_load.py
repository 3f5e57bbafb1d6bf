"""`voice-ai bench load`: how many calls a core carries, and what they cost."""

from collections.abc import Coroutine, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer

from server.cli.bench_options import (
    JsonFile,
    Pin,
    Priority,
    chosen_systems,
    refusals_in_words,
    write_json,
)
from server.cli.environment import echo, exit_without_package

_Calls = Annotated[str, typer.Option(help="Calls at once; several with commas, or none.")]
_Secs = Annotated[float, typer.Option(min=1, help="Seconds measured under each load.")]
_System = Annotated[
    list[str] | None,
    typer.Option(
        help="ours, cassettes, plain, bridge or plain-starter; as often as there are systems to "
        "measure. By default: ours, plain and bridge."
    ),
]
_FindLimit = Annotated[bool, typer.Option("--find-limit", help="Add calls until a target breaks.")]
_Step = Annotated[int, typer.Option(min=1, help="So many at a time, with --find-limit.")]
_Soak = Annotated[
    int | None, typer.Option(min=1, help="Instead: so many short calls on each system.")
]
_AtOnce = Annotated[int, typer.Option(min=1, max=500, help="So many at a time, with --soak.")]
_SetUp = Annotated[
    int | None, typer.Option(min=1, help="Instead: what the set-up of so many calls costs.")
]
_Beside = Annotated[
    int, typer.Option(min=0, max=500, help="So many others talk meanwhile, with --set-up.")
]
_Setting = Annotated[
    list[str] | None,
    typer.Option(help="A setting of ours, as NAME=VALUE; as often as there are some."),
]
_WarmUp = Annotated[
    bool, typer.Option(help="Have one call first on each system that is not counted.")
]
_Workers = Annotated[
    int, typer.Option(min=1, max=64, help="Ours runs in so many processes, with as many cores.")
]


def load(
    calls: _Calls = "1,10,25,50,100",
    secs: _Secs = 20.0,
    system: _System = None,
    find_limit: _FindLimit = False,
    step: _Step = 10,
    soak: _Soak = None,
    at_once: _AtOnce = 20,
    set_up: _SetUp = None,
    beside: _Beside = 20,
    setting: _Setting = None,
    warm_up: _WarmUp = True,
    pin: Pin = True,
    priority: Priority = False,
    workers: _Workers = 1,
    json_file: JsonFile = None,
) -> None:
    """How many calls a core carries, and what they cost.

    Both references are measured, too. The exit code is 1 when a call did not go as it should.
    """
    import_module("server.replay.quiet")
    try:
        from server.bench.load import run
        from server.bench.load.set_up import measure_set_up
        from server.bench.load.soak import run_soak
        from server.bench.load.stage import LoadOptions
        from server.bench.load.sweep import run_sweep
        from server.bench.machine import run_alone, shared_out
    except ModuleNotFoundError as error:
        exit_without_package("The bench", error)

    systems, counts = chosen_systems(system, run.USUAL), _counts(calls)
    cores = shared_out(workers) if pin else None
    options = LoadOptions(secs, warm_up, _settings(setting or []), cores, workers)

    def tell(line: str) -> None:
        echo(line, err=True)

    if pin and cores is None:
        tell("Too few cores: the server and the load generator share them.")

    def measure() -> "Coroutine[Any, Any, run.LoadResult]":
        if set_up is not None:
            return run.one_by_one(
                "set_ups",
                systems,
                lambda one: measure_set_up(one, options, calls=set_up, beside=beside),
            )
        if soak is not None:
            return run.one_by_one(
                "soaks",
                systems,
                lambda one: run_soak(one, options, calls=soak, at_once=at_once, tell=tell),
            )
        limit_step = step if find_limit else None
        return run.loads(run_sweep(counts, systems, options, limit_step=limit_step, tell=tell))

    with refusals_in_words():
        told, problems = run_alone(measure, cores, priority=priority, tell=tell)
    write_json(json_file, told)
    if problems:
        raise typer.Exit(1)


def _counts(calls: str) -> tuple[int, ...]:
    from server.bench.load.markers import MOST_CALLS

    try:
        counts = tuple(int(count) for count in calls.split(",") if count.strip())
    except ValueError:
        raise typer.BadParameter(f"--calls {calls}: numbers with commas") from None
    if min(counts, default=1) < 1 or max(counts, default=1) >= MOST_CALLS:
        raise typer.BadParameter(f"--calls {calls}: at least one call, less than {MOST_CALLS}")
    return counts


def _settings(given: list[str]) -> Mapping[str, str]:
    for one in given:
        if not one.partition("=")[0] or "=" not in one:
            raise typer.BadParameter(f"--setting {one}: NAME=VALUE is needed")
    return dict(one.partition("=")[::2] for one in given)
