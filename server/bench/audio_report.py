"""What the line does to sound, as a table, as JSON, and against what it has to reach."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from processors.polyphase import Polyphase
from server.bench.audio import Direction, LineFigures, MakeResampler, measure
from server.bench.soxr_stream import QUALITIES, soxr_stream

OURS = "ours"
RESAMPLERS: Mapping[str, MakeResampler] = {
    OURS: Polyphase,
    **{f"soxr {quality}": soxr_stream(quality) for quality in QUALITIES},
}

# By name of a resampler and direction.
AudioResult = Mapping[str, Mapping[Direction, LineFigures]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure of a direction and what it has to be."""

    direction: Direction
    what: str
    unit: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it is."""
        low = float("-inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= self.value <= high


def measure_all(resamplers: Mapping[str, MakeResampler] = RESAMPLERS) -> AudioResult:
    """Both directions with each of the resamplers."""
    return {
        name: {direction: measure(direction, make) for direction in Direction}
        for name, make in resamplers.items()
    }


def verdicts(line: Mapping[Direction, LineFigures]) -> list[Verdict]:
    """What both directions of a line have to reach."""
    caller, agent = line[Direction.CALLER], line[Direction.AGENT]
    assert agent.mulaw_snr_db is not None, "the agent's way ends in mu-law"
    return [
        Verdict(Direction.CALLER, "level, either way", "dB", abs(caller.level_db), at_most=0.3),
        Verdict(Direction.AGENT, "level, either way", "dB", abs(agent.level_db), at_most=0.3),
        Verdict(Direction.CALLER, "speech to noise", "dB", caller.snr_db, at_least=43.0),
        Verdict(
            Direction.AGENT, "speech to noise, mu-law", "dB", agent.mulaw_snr_db, at_least=37.0
        ),
        Verdict(Direction.CALLER, "mirrored sound", "dB", caller.aliasing_db, at_most=-60.0),
        Verdict(Direction.AGENT, "folded sound", "dB", agent.aliasing_db, at_most=-60.0),
        Verdict(Direction.AGENT, "lost of a reply's end", "ms", agent.tail_lost_ms, at_most=0.0),
    ]


def print_audio(result: AudioResult, console: Console) -> None:
    """The table of all, and the verdicts on ours."""
    for direction in Direction:
        console.print(_table(direction, result))
    table = Table(title="What ours has to reach", title_justify="left")
    for name in ("", "", "is", "has to be", ""):
        table.add_column(name, justify="left")
    for one in verdicts(result[OURS]):
        bound = f"≥ {one.at_least:g}" if one.at_least is not None else f"≤ {one.at_most:g}"
        passed = "[green]yes[/green]" if one.passed else "[red]NO[/red]"
        is_now = f"{one.value:.1f} {one.unit}"
        table.add_row(str(one.direction), one.what, is_now, f"{bound} {one.unit}", passed)
    console.print(table)


def audio_as_json(result: AudioResult) -> dict[str, Any]:
    """Everything that was measured, and the verdicts on ours. docs/bench.md has the shape."""
    return {
        "lines": {
            name: {str(direction): asdict(figures) for direction, figures in line.items()}
            for name, line in result.items()
        },
        "verdicts": [
            {**asdict(one), "direction": str(one.direction), "passed": one.passed}
            for one in verdicts(result[OURS])
        ],
    }


def _table(direction: Direction, result: AudioResult) -> Table:
    from_rate, to_rate = direction.rates
    title = f"{direction}: {from_rate / 1000:g} → {to_rate / 1000:g} kHz"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in result:
        table.add_column(name, justify="right")
    lines = [line[direction] for line in result.values()]
    rows = {
        "level, dB": [f"{round(one.level_db, 2) + 0.0:.2f}" for one in lines],
        "response over the band, ± dB": [f"{one.ripple_db:.2f}" for one in lines],
        "speech to noise, dB": [f"{one.snr_db:.1f}" for one in lines],
        "speech, through mu-law, dB": [_number(one.mulaw_snr_db) for one in lines],
        "worst sine, through mu-law, dB": [
            _number(min(one.mulaw_sine_snr_db.values(), default=None)) for one in lines
        ],
        "folded or mirrored sound, dB": [_number(one.aliasing_db) for one in lines],
        "delay, ms": [_span(one.delay_ms) for one in lines],
        "lost of a reply's end, ms": [f"{one.tail_lost_ms:g}" for one in lines],
    }
    for name, cells in rows.items():
        if any(cells):
            table.add_row(name, *cells)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, 1) + 0.0:.1f}"


def _span(span: tuple[float, float]) -> str:
    least, most = (f"{abs(round(ms, 1)):g}" for ms in span)
    return least if least == most else f"{least} to {most}"
