"""Flickering expectations: which of a repeated scenario held only at times, and within what bounds.

scenarios/hours.yaml:24: failed 2 of 10 times, expected response_ms of at most 900, saw 870–940
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from server.replay.results import Failure, Replay

_FIGURE = re.compile(r"-?\d+(?:\.\d+)?")
_SHOWN = 3


def flickering(replays: Sequence[Replay]) -> list[str]:
    """A sentence for each expectation that failed in some of these replays of one scenario."""
    seen: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for replay in replays:
        for failure in replay.failures:
            seen[str(failure.where), failure.expected].append(failure)
    sentences = [
        f"{where}: failed {len(found)} of {len(replays)} times, expected {expected}, "
        f"saw {_bounds([failure.seen for failure in found])}"
        for (where, expected), found in sorted(seen.items())
        if len(found) < len(replays)
    ]
    middles = [sorted(r.response_ms)[len(r.response_ms) // 2] for r in replays if r.response_ms]
    if middles and max(middles) > min(middles):
        low, high = min(middles), max(middles)
        sentences.append(f"the middle response took {low:.0f}–{high:.0f} ms")
    return sentences


def _bounds(seen: Sequence[str]) -> str:
    """What was seen; of texts that differ in one figure alone, its least and greatest."""
    shapes = {_FIGURE.sub("#", text) for text in seen}
    figures = [_FIGURE.findall(text) for text in seen]
    if len(shapes) == 1 and len(figures[0]) == 1:
        values = sorted(float(found[0]) for found in figures)
        if values[0] == values[-1]:
            return seen[0]
        return _FIGURE.sub(f"{values[0]:g}–{values[-1]:g}", seen[0])
    different = list(dict.fromkeys(seen))
    more = f" and {len(different) - _SHOWN} others" if len(different) > _SHOWN else ""
    return " / ".join(different[:_SHOWN]) + more
