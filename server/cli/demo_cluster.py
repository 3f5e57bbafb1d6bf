"""`voice-ai demo-cluster`: three instances under calls are struck, or restarted one by one."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from server.cli.environment import echo, exit_without_package

if TYPE_CHECKING:
    from server.demo.cluster_report import Heard
    from server.demo.cluster_rolling import Rolling

T = TypeVar("T")
STRUCK_CALLS, ROLLING_CALLS = 10, 30


def demo_cluster(
    calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=30,
            help="How many calls are placed.",
            show_default=f"{STRUCK_CALLS}; {ROLLING_CALLS} with --rolling",
        ),
    ] = None,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Drain and start anew one instance after the other.")
    ] = False,
) -> None:
    """Kill, freeze and drain instances under calls.

    There are three, one for each; what callers heard is told. The exit code is 1 when a call was
    lost.
    """
    try:
        from server.demo.cluster_rolling import run_rolling
        from server.demo.cluster_strikes import run_strikes
    except ModuleNotFoundError as error:
        exit_without_package("The demo", error)
    if rolling:
        rolled = _run(run_rolling(echo, calls=calls or ROLLING_CALLS))
        _tell_rolling(rolled)
        lost = any(call.dropped for call in rolled.calls)
    else:
        heard = _run(run_strikes(echo, calls=calls or STRUCK_CALLS))
        _tell_strikes(heard)
        lost = any(call.lost for call in heard)
    if lost:
        raise typer.Exit(1)


def _run(demo: Coroutine[Any, Any, T]) -> T:
    from server.demo.stage import StageError
    from server.demo.valkey import NoValkey

    try:
        return asyncio.run(demo)
    except NoValkey as error:
        echo(f"There is no Valkey server: {error}.", err=True)
    except StageError as error:
        echo(f"A process did not start:\n{error}", err=True)
    raise typer.Exit(1)


def _tell_strikes(heard: "list[Heard]") -> None:
    Console(soft_wrap=False).print(_table(heard))
    _tell_of_kill(heard)
    for call in heard:
        if call.problem:
            echo(f"{'LOST' if call.lost else 'SLOW'}: call {call.number} {call.problem}")
    lost = sum(bool(call.lost) for call in heard)
    slow = sum(bool(call.problem) for call in heard) - lost
    longest = max(call.silence_secs for call in heard)
    words = [call.words for call in heard]
    echo(
        f"{_verdict(lost)}: {len(heard)} calls, {lost or 'none'} lost, {slow or 'none'} silent for "
        f"too long; longest silence {longest:.1f} s; of the agent's "
        f"{sum(each.said for each in words)} words, {sum(each.lost for each in words)} lost, "
        f"{sum(each.repeated for each in words)} heard twice."
    )


def _tell_rolling(rolled: "Rolling") -> None:
    for call in rolled.calls:
        if call.dropped:
            echo(f"DROPPED: call {call.number} {call.dropped}")
    for name in rolled.late:
        echo(f"LATE: {name}, or a stream of it, was there for longer than it may")
    dropped = sum(bool(call.dropped) for call in rolled.calls)
    moves = sum(call.moves for call in rolled.calls)
    silences = sorted(call.silence_secs for call in rolled.calls)
    echo(
        f"{_verdict(dropped)}: {rolled.restarted} instances restarted under {len(silences)} calls, "
        f"{moves} streams moved, {dropped or 'no'} calls dropped; longest silence "
        f"{silences[-1]:.2f} s, of half the calls {silences[len(silences) // 2]:.2f} s at most."
    )


def _verdict(lost: int) -> str:
    return "FAILED" if lost else "OK"


def _table(heard: "list[Heard]") -> Table:
    names = ("call", "its instance was", "back", "silence", "lost", "twice", "outcome")
    table = Table(*names, box=box.SIMPLE, pad_edge=False)
    for call in heard:
        table.add_row(
            call.number,
            ", ".join(call.struck) or "left alone",
            "" if call.back_secs is None else f"{call.back_secs:.1f} s",
            f"{call.silence_secs:.1f} s",
            f"{call.words.lost}/{call.words.said}",
            str(call.words.repeated),
            call.outcome,
        )
    table.caption = (
        "back: from SIGKILL to the agent's next sound · silence: the longest, of both sides · "
        "lost, twice: words of the agent's that were never heard whole, or more than once"
    )
    return table


def _tell_of_kill(heard: "list[Heard]") -> None:
    from server.demo.cluster_report import percentile

    back = [call.back_secs for call in heard if call.back_secs is not None]
    if back:
        half, most = percentile(back, 0.5), percentile(back, 0.95)
        echo(
            f"From SIGKILL to the agent's next sound, {len(back)} calls: "
            f"p50 {half:.2f} s, p95 {most:.2f} s."
        )
