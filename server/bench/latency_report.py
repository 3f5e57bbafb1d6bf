"""The latency bench for people, as a table, and for programs, as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from server.bench.figures import Figure
from server.bench.latency import BenchResult, SystemResult
from server.bench.load.pacer import LATE_MS
from server.bench.systems import System
from server.bench.tables import NEVER, number, print_problems, print_table

# One stall of the load generator that lasts longer than a packet shows in the highest percentiles.
STALL_MS = 20.0

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


def print_result(result: BenchResult, console: Console) -> None:
    """The table, and every sentence that it needs beside it."""
    options = result.options
    title = f"{options.calls} calls each, {options.at_once} at once; milliseconds"
    print_table(console, title, ("", "p50", "p95", "p99", "of plain"), _rows(result))
    console.print(
        f"Gemini takes {options.setup_secs:g} s to open a session and {options.thinking_secs:g} s "
        f"to think; the phone rings for {options.ring_secs:g} s, or not at all where ours has no "
        "time to prepare. “of plain”: the p50 as a share of the plain Pipecat bot's."
    )
    for system, measured in result.systems.items():
        _print_lateness(system, measured, console)
        print_problems(measured.problems, console, system)
    if result.cores is None:
        console.print("Server and load generator shared their cores.")


def as_json(result: BenchResult) -> dict[str, Any]:
    """Everything that was measured: milliseconds, gaps counted. docs/bench.md has the shape."""
    return {
        "options": asdict(result.options) | {"systems": list(result.systems)},
        "cores": result.cores and asdict(result.cores),
        "systems": {
            system: {
                "figures": {figure: asdict(one) for figure, one in measured.figures.items()},
                "share_of_plain": {
                    figure: share
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


def _rows(result: BenchResult) -> Iterator[tuple[str, ...]]:
    for figure in Figure:
        yield ()
        yield (f"[bold]{TITLES[figure]}[/bold]",)
        for system, measured in result.systems.items():
            found = measured.figures.get(figure)
            values = (found.p50, found.p95, found.p99) if found else ()
            share = None if system is System.PLAIN else result.share_of_plain(system, figure)
            cells = tuple(map(number, values)) or (NEVER,) * 3
            yield (f"  {system}", *cells, _percent(share))


def _print_lateness(system: System, measured: SystemResult, console: Console) -> None:
    lag = measured.lag_ms
    if lag is None:
        return
    says = f"{system}: the load generator was {lag.p99:.1f} ms late at p99"
    says += f", {lag.largest:.1f} ms at most"
    if was_late(measured):
        says = f"[yellow]{says}: too late, the figures hold that too[/yellow]"
    elif lag.largest > STALL_MS:
        says += ": a p99 may hold that"
    console.print(says)


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.2%}"
