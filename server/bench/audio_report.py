"""What the line does to sound, as a table, as JSON, and against what it has to reach."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console

from processors.polyphase import Polyphase
from server.bench.audio import Direction, LineFigures, MakeResampler, measure
from server.bench.soxr_stream import QUALITIES, SoxrStream
from server.bench.tables import print_table

OURS = "ours"
RESAMPLERS: Mapping[str, MakeResampler] = {
    OURS: Polyphase,
    **{f"soxr {quality}": partial(SoxrStream, quality=quality) for quality in QUALITIES},
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
        return (self.at_least is None or self.at_least <= self.value) and (
            self.at_most is None or self.value <= self.at_most
        )


def measure_all(resamplers: Mapping[str, MakeResampler] = RESAMPLERS) -> AudioResult:
    """Both directions with each of the resamplers."""
    return {
        name: {direction: measure(direction, make) for direction in Direction}
        for name, make in resamplers.items()
    }


def verdicts(line: Mapping[Direction, LineFigures]) -> list[Verdict]:
    """What both directions of a line have to reach."""
    to_model, to_phone = Direction.CALLER, Direction.AGENT
    caller, agent = line[to_model], line[to_phone]
    assert agent.mulaw_snr_db is not None, "the agent's way ends in mu-law"
    return [
        Verdict(to_model, "level, either way", "dB", abs(caller.level_db), at_most=0.3),
        Verdict(to_phone, "level, either way", "dB", abs(agent.level_db), at_most=0.3),
        Verdict(to_model, "speech to noise", "dB", caller.snr_db, at_least=43.0),
        Verdict(to_phone, "speech to noise, mu-law", "dB", agent.mulaw_snr_db, at_least=37.0),
        Verdict(to_model, "mirrored sound", "dB", caller.aliasing_db, at_most=-60.0),
        Verdict(to_phone, "folded sound", "dB", agent.aliasing_db, at_most=-60.0),
        Verdict(to_phone, "lost of a reply's end", "ms", agent.tail_lost_ms, at_most=0.0),
    ]


def print_audio(result: AudioResult, console: Console) -> None:
    """The table of all, and the verdicts on ours."""
    for direction in Direction:
        from_khz, to_khz = (rate / 1000 for rate in direction.rates)
        title = f"{direction}: {from_khz:g} → {to_khz:g} kHz"
        rows = _rows([line[direction] for line in result.values()])
        print_table(console, title, ("", *result), rows)
    rows = []
    for one in verdicts(result[OURS]):
        bound = f"≥ {one.at_least:g}" if one.at_least is not None else f"≤ {one.at_most:g}"
        passed = "[green]yes[/green]" if one.passed else "[red]NO[/red]"
        value = f"{one.value:.1f} {one.unit}"
        rows.append((one.direction, one.what, value, f"{bound} {one.unit}", passed))
    columns = ("", "", "is", "has to be", "")
    print_table(console, "What ours has to reach", columns, rows, names=len(columns))


def audio_as_json(result: AudioResult) -> dict[str, Any]:
    """Everything that was measured, and the verdicts on ours. docs/bench.md has the shape."""
    return {
        "lines": {
            name: {direction: asdict(figures) for direction, figures in line.items()}
            for name, line in result.items()
        },
        "verdicts": [asdict(one) | {"passed": one.passed} for one in verdicts(result[OURS])],
    }


def _rows(lines: list[LineFigures]) -> list[tuple[str, ...]]:
    """A row for each figure that was measured, with a cell for each line."""
    rows = {
        "level, dB": [_number(one.level_db, 2) for one in lines],
        "response over the band, ± dB": [_number(one.ripple_db, 2) for one in lines],
        "speech to noise, dB": [_number(one.snr_db) for one in lines],
        "speech, through mu-law, dB": [_number(one.mulaw_snr_db) for one in lines],
        "worst sine, through mu-law, dB": [
            _number(min(one.mulaw_sine_snr_db.values(), default=None)) for one in lines
        ],
        "folded or mirrored sound, dB": [_number(one.aliasing_db) for one in lines],
        "delay, ms": [_span(one.delay_ms) for one in lines],
        "lost of a reply's end, ms": [f"{one.tail_lost_ms:g}" for one in lines],
    }
    return [(name, *cells) for name, cells in rows.items() if any(cells)]


def _number(value: float | None, digits: int = 1) -> str:
    # Zero is added, for no figure is printed as -0.0.
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _span(span: tuple[float, float]) -> str:
    least, most = (f"{abs(round(ms, 1)):g}" for ms in span)
    return least if least == most else f"{least} to {most}"
