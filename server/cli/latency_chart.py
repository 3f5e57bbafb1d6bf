"""Draws a call's latencies, as the API returns them, as bars on one scale.

latency
  answer to first sound   4.2 ms  ▏
  response 1              880 ms  █████████████████▋
  response 2             1226 ms  ████████████████████████▌
  barge-in 1               40 ms  ▊
                                  0                                    2 s
  responses: half within 1053 ms, all within 1226 ms
  our share: 0.4 ms in, 0.6 ms out
"""

import sys
from collections.abc import Mapping
from typing import Any, TextIO

WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def draw(latency: Mapping[str, Any], *, blocks: bool) -> list[str]:
    """The chart of a call's `latency` line by line; empty when nothing is known of it.

    `blocks`: bars of Unicode's block elements, an eighth of a column fine; otherwise plain signs.
    """
    bars = _bars(latency)
    lines = []
    if bars:
        end = _scale(max(ms for _, ms in bars))
        names = max(len(name) for name, _ in bars)
        figures = max(len(_ms(ms)) for _, ms in bars)
        for name, ms in bars:
            bar = _bar(ms, end, blocks=blocks)
            lines.append(f"  {name:<{names}}  {_ms(ms):>{figures}}  {bar}".rstrip())
        far = f"{end / 1000:g} s" if end >= 1000 else f"{end:g} ms"
        lines.append(" " * (names + figures + 6) + "0" + far.rjust(WIDTH - 1))
    lines += _figures(latency)
    return ["latency", *lines] if lines else []


def shows_blocks(stream: TextIO | None = None) -> bool:
    """Whether a person looks at this stream, standard output by default, in a terminal that can."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return False
    try:
        _EIGHTHS.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _bars(latency: Mapping[str, Any]) -> list[tuple[str, float]]:
    first = latency["first_sound_ms"]
    bars = [("answer to first sound", first)] if first is not None else []
    bars += [(f"response {n}", ms) for n, ms in enumerate(latency["response_ms"]["each"], 1)]
    return bars + [(f"barge-in {n}", ms) for n, ms in enumerate(latency["barge_in_ms"], 1)]


def _figures(latency: Mapping[str, Any]) -> list[str]:
    lines = []
    if (half := latency["response_ms"]["p50"]) is not None:
        longest = latency["response_ms"]["max"]
        lines.append(f"  responses: half within {_ms(half)}, all within {_ms(longest)}")
    shares = [f"{_ms(ms)} {way}" for way, ms in latency["share_ms"].items() if ms is not None]
    if shares:
        lines.append(f"  our share: {', '.join(shares)}")
    return lines


def _ms(ms: float) -> str:
    return f"{ms:.{2 if ms < 0.1 else 1 if ms < 10 else 0}f} ms"


def _scale(longest: float) -> float:
    """The scale's end in ms: 1, 2 or 5 with as many zeros as it takes."""
    ends = (float(digit * 10**zeros) for zeros in range(20) for digit in (1, 2, 5))
    return next(end for end in ends if end >= longest)


def _bar(ms: float, end: float, *, blocks: bool) -> str:
    """What is more than nothing is seen."""
    fine = 8 if blocks else 1
    units = max(round(ms / end * WIDTH * fine), 1 if ms > 0 else 0)
    if not blocks:
        return "#" * units
    whole, rest = divmod(units, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
