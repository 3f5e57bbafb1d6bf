"""Prints what came of a chaos bench, as one table with a column a system and figure."""

from rich.console import Console
from rich.table import Table

from server.chaos.judge import Verdict
from server.chaos.run import ChaosOptions, ChaosResult

# The longest silence that a call may have.
DEAD_AIR_SECS = 2.5


def is_fine(verdict: Verdict) -> bool:
    """Whether nothing was lost or came twice, and nobody waited for too long."""
    wrong = verdict.lost_ms or verdict.unknown_ms or verdict.doubled_ms or verdict.replies_lost
    once = verdict.tool_runs in (None, 1)
    waited = verdict.longest_silence_secs > DEAD_AIR_SECS + 0.05
    return verdict.is_alive and once and not wrong and not waited


def print_chaos(result: ChaosResult, options: ChaosOptions, console: Console) -> None:
    """Print the table, a sum for each system, and what could not be played."""
    table = Table(title="One fault a call")
    table.add_column("fault")
    for system in options.systems:
        table.add_column(f"{system}:\nlost/unknown/\ndoubled ms", justify="right")
        table.add_column("silence\ns", justify="right")
        table.add_column("replies\nlost", justify="right")
        table.add_column("tool\nruns", justify="right")
        table.add_column("outcome")
    for kind in result.kinds:
        cells = [kind]
        for system in options.systems:
            cells += _cells(result.verdicts.get((system, kind)))
        table.add_row(*cells)
    console.print(table)
    for system in options.systems:
        verdicts = [v for (of, _), v in result.verdicts.items() if of == system]
        alive = sum(verdict.is_alive for verdict in verdicts)
        fine = sum(map(is_fine, verdicts))
        console.print(
            f"{system}: {alive} of {len(verdicts)} calls live on, {fine} of them with nothing lost "
            f"or doubled, and at most {DEAD_AIR_SECS:g} s of silence"
        )
    for (system, kind), problem in result.broken.items():
        console.print(f"{system}: {kind}: could not be played: {problem}")


def _cells(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["–"] * 5
    runs = "–" if verdict.tool_runs is None else str(verdict.tool_runs)
    return [
        f"{verdict.lost_ms}/{verdict.unknown_ms}/{verdict.doubled_ms}",
        f"{verdict.longest_silence_secs:.1f}",
        str(verdict.replies_lost),
        runs,
        verdict.outcome,
    ]
