"""A soak for people, as it goes and at its end, and for programs, as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from server.bench.load.soak import Sample, Soak

MOST_WRONG = 10


def print_sample(sample: Sample) -> None:
    """A line, as it is taken."""
    Console(stderr=True).print(_line(sample))


def print_soaks(soaks: list[Soak], console: Console) -> None:
    """What became of each server."""
    for soak in soaks:
        calls = soak.samples[-1].calls
        console.print(
            f"[bold]{soak.contestant.label}[/bold]: {calls} calls, {soak.at_once} at once"
        )
        for sample in soak.samples[:-1]:
            console.print(f"  {_line(sample)}")
        console.print(f"  {_line(soak.samples[-1])}, with nobody on the phone")
        if soak.collected_mb is not None:
            console.print(f"  {soak.collected_mb:.1f} MB after a full collection")
        console.print(
            f"  grows by {soak.growth_mb_per_100:.2f} MB per 100 calls (second half); a call takes "
            f"{soak.cpu_ms_per_call:.0f} ms of CPU beside its talking"
        )
        for wrong in soak.went_wrong[:MOST_WRONG]:
            console.print(f"  [red]{escape(wrong)}[/red]")
        if len(soak.went_wrong) > MOST_WRONG:
            console.print(f"  [red]{len(soak.went_wrong)} calls went wrong in all[/red]")


def soaks_as_json(soaks: list[Soak]) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {"soaks": [asdict(one) | {"growth_mb_per_100": one.growth_mb_per_100} for one in soaks]}


def _line(sample: Sample) -> str:
    return (
        f"after {sample.calls} calls {sample.resident_mb:.1f} MB, "
        f"{sample.full_collections} full collections"
    )
