"""Percentiles of what was measured, and nothing that was not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Some values, in their own unit. A percentile is one of them: no value is made up between two.

    So the p99 of less than a hundred values is the largest.
    """

    count: int
    p50: float
    p95: float
    p99: float
    smallest: float
    largest: float


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of values in any order; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Summary(
        len(ordered),
        p50=_at(ordered, 50),
        p95=_at(ordered, 95),
        p99=_at(ordered, 99),
        smallest=ordered[0],
        largest=ordered[-1],
    )


def _at(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that at least so many percent of all do not exceed (nearest rank)."""
    # Whole numbers: 0.95 · 20 is more than 19 in floating point.
    return ordered[math.ceil(percent * len(ordered) / 100) - 1]
