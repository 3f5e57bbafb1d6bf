"""Figures as people read them: lengths, moments, speeds, medians."""

from collections.abc import Iterable, Sequence
from statistics import median, quantiles

from server.replay.results import Replay

# Where scales of milliseconds end; a quarter of each is a round figure.
_SCALES_MS = (1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 20_000, 40_000, 60_000)

# Between a figure and its unit a line does not break.
SPACE = "\N{NARROW NO-BREAK SPACE}"


def length(secs: float) -> str:
    """How long something lasted: 0.42 s, 24.1 s, 5 min 02 s."""
    if secs < 1:
        return f"{secs:.2f}{SPACE}s"
    if round(secs, 1) < 60:
        return f"{secs:.1f}{SPACE}s"
    minutes, rest = divmod(round(secs), 60)
    return f"{minutes}{SPACE}min {rest:02d}{SPACE}s"


def moment(secs: float) -> str:
    """A time on the clock of the call: 0:03.2, and −0:01.0 before the answer."""
    tenths = round(abs(secs) * 10)
    minutes, tenths = divmod(tenths, 600)
    sign = "−" if secs < 0 and (minutes or tenths) else ""
    return f"{sign}{minutes}:{tenths // 10:02d}.{tenths % 10}"


def milliseconds(ms: float) -> str:
    """880 ms."""
    return f"{ms:.0f}{SPACE}ms"


def speed(call_secs: float, took_secs: float) -> str:
    """How much faster than the call the replay was: 26×, 1.0×; empty where nothing can be said."""
    if took_secs <= 0 or call_secs <= 0:
        return ""
    times = call_secs / took_secs
    return f"{times:.0f}×" if times >= 9.5 else f"{times:.1f}×"


def p50(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def p95(values: Sequence[float]) -> float | None:
    """What 19 of 20 do not exceed; None of nothing."""
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=20, method="inclusive")[-1]


def scale_ms(longest: float) -> float:
    """Where a scale ends on which this is the longest."""
    return next((end for end in _SCALES_MS if end >= longest), longest)


def count(number: int, one: str, many: str | None = None) -> str:
    """1 call, 2 calls."""
    return f"{number}{SPACE}{one if number == 1 else many or one + 's'}"


def title(name: str, repetition: int = 1) -> str:
    """The scenario's name, and which repetition it is: name, name[2]."""
    return f"{name}[{repetition}]" if repetition > 1 else name


def repeated(replays: Iterable[Replay]) -> frozenset[str]:
    """The names of scenarios that were played more than once."""
    return frozenset(replay.scenario.name for replay in replays if replay.repetition > 1)
