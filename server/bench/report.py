"""A bench for people, as a table, and for programs, as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from server.bench.figures import Figure
from server.bench.latency import BenchResult, SystemResult
from server.bench.loop_lag import LATE_MS, STALL_MS
from server.bench.problems import print_problems
from server.bench.statistics import Summary
from server.bench.systems import System

TITLES = {
    Figure.START_TO_MEDIA: "Twilio's start → the first media message back",
    Figure.ANSWER_TO_SOUND: "answer → first sound heard",
    Figure.RESPONSE: "caller's last sound → first sound of the reply",
    Figure.CHUNK_TO_SOUND: "Gemini's first chunk → first sound at the phone",
    Figure.PACKET_TO_MODEL: "caller's packet at Twilio → at Gemini",
    Figure.BARGE_IN_TO_CLEAR: "caller barges in → clear at Twilio",
    Figure.INTERRUPTED_TO_CLEAR: "Gemini's interrupted → clear at Twilio",
    Figure.BARGE_IN_TO_SILENCE: "caller barges in → silence",
    Figure.LOST: "lost of the last reply",
    Figure.GAPS: "gaps in what a caller heard (count)",
}
NEVER = "–"


def print_result(result: BenchResult, console: Console) -> None:
    """The table, and every sentence that it needs beside it."""
    options = result.options
    table = Table(
        title=f"{options.calls} calls each, {options.at_once} at once; milliseconds",
        title_justify="left",
    )
    table.add_column("")
    for name in ("p50", "p95", "p99", "of plain"):
        table.add_column(name, justify="right")
    for figure in Figure:
        table.add_section()
        table.add_row(f"[bold]{TITLES[figure]}[/bold]")
        for system, measured in result.systems.items():
            summary = measured.figures.get(figure)
            share = None if system is System.PLAIN else result.share_of_plain(system, figure)
            table.add_row(f"  {system.label}", *_cells(summary), _percent(share))
    console.print(table)
    console.print(
        f"Gemini takes {options.setup_secs:g} s to open a session and {options.thinking_secs:g} s "
        f"to think; the phone rings for {options.ring_secs:g} s, or not at all where ours has no "
        "time to prepare. “of plain”: the p50 as a share of the plain Pipecat bot's."
    )
    for measured in result.systems.values():
        _print_lateness(measured, console)
        print_problems(measured.system.label, measured.problems, console)
    if result.cores is None:
        console.print("Server and load generator shared their cores.")


def as_json(result: BenchResult) -> dict[str, Any]:
    """Everything that was measured: milliseconds, gaps counted. docs/bench.md has the shape."""
    return {
        "options": {**asdict(result.options), "systems": [str(one) for one in result.systems]},
        "cores": result.cores and asdict(result.cores),
        "systems": {
            str(system): {
                "figures": {
                    str(figure): asdict(summary) for figure, summary in measured.figures.items()
                },
                "share_of_plain": {
                    str(figure): share
                    for figure in Figure
                    if system is not System.PLAIN
                    and (share := result.share_of_plain(system, figure)) is not None
                },
                "problems": measured.problems,
                "load_generator": {
                    "lag_ms": measured.lag_ms and asdict(measured.lag_ms),
                    "was_late": was_late(measured),
                },
            }
            for system, measured in result.systems.items()
        },
    }


def was_late(measured: SystemResult) -> bool:
    """Whether the load generator was too late itself for its figures to be the system's alone."""
    return measured.lag_ms is not None and measured.lag_ms.p99 > LATE_MS


def _print_lateness(measured: SystemResult, console: Console) -> None:
    lag = measured.lag_ms
    if lag is None:
        return
    says = f"{measured.system.label}: the load generator was {lag.p99:.1f} ms late at p99"
    says += f", {lag.largest:.1f} ms at most"
    if was_late(measured):
        says = f"[yellow]{says}: too late, the figures hold that too[/yellow]"
    elif lag.largest > STALL_MS:
        says += ": a p99 may hold that"
    console.print(says)


def _cells(summary: Summary | None) -> list[str]:
    if summary is None:
        return [NEVER] * 3
    return [_number(value) for value in (summary.p50, summary.p95, summary.p99)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.1f}"


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.2%}"
