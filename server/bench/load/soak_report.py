"""A soak for people, as it goes and at its end, and for programs, as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console

from server.bench.load.soak import Sample, Soak
from server.bench.problems import print_problems


def print_soaks(soaks: list[Soak], console: Console) -> None:
    """What became of each server."""
    for soak in soaks:
        calls = soak.samples[-1].calls
        console.print(f"[bold]{soak.system.label}[/bold]: {calls} calls, {soak.at_once} at once")
        for sample in soak.samples[:-1]:
            console.print(f"  {sample_line(sample)}")
        console.print(f"  {sample_line(soak.samples[-1])}, with nobody on the phone")
        if soak.collected_mb is not None:
            console.print(f"  {soak.collected_mb:.1f} MB after a full collection")
        console.print(f"  grows by {soak.growth_mb_per_100:.2f} MB per 100 calls (second half)")
        console.print(f"  a call takes {soak.cpu_ms_per_call:.0f} ms of CPU beside its talking")
        print_problems(soak.system.label, soak.problems, console)


def soaks_as_json(soaks: list[Soak]) -> dict[str, Any]:
    """Everything that was measured. docs/bench.md has the shape."""
    return {"soaks": [asdict(one) | {"growth_mb_per_100": one.growth_mb_per_100} for one in soaks]}


def sample_line(sample: Sample) -> str:
    """One sample, as a line for who waits for the end."""
    return (
        f"after {sample.calls} calls {sample.resident_mb:.1f} MB, "
        f"{sample.full_collections} full collections"
    )
