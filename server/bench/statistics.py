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
    """The summary of values in any order; None when there are none.

    A percentile is the smallest value that at least so many percent do not exceed (nearest rank).
    """
    if not values:
        return None
    ordered = sorted(values)
    # Whole numbers: 0.95 · 20 is more than 19 in floating point.
    ranks = (math.ceil(percent * len(ordered) / 100) for percent in (50, 95, 99))
    p50, p95, p99 = (ordered[rank - 1] for rank in ranks)
    return Summary(len(ordered), p50, p95, p99, ordered[0], ordered[-1])
