"""Latency of one call, computed from the events in its record.

latency.first_sound  {ms}              once
latency.response     {ms}              each of the agent's replies to the caller
latency.barge_in     {ms}              each time the agent was stopped
latency.share        {in_ms, out_ms}   once, at the end: the medians of the call
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

FIRST_SOUND = "latency.first_sound"
RESPONSE = "latency.response"
BARGE_IN = "latency.barge_in"
SHARE = "latency.share"
LATENCY_EVENTS = (FIRST_SOUND, RESPONSE, BARGE_IN, SHARE)

# The longest call; a longer value is not a measurement.
LONGEST_MS = 14_400_000


@dataclass(frozen=True, slots=True)
class Latency:
    """The latencies of one call in ms; None and empty: not measured."""

    # From the answer to the first speech heard, by a mark.
    first_sound: float | None = None
    # From the caller's last sound to the first of the reply heard, in order.
    responses: tuple[float, ...] = ()
    # From the caller's first sound over the agent to `clear` sent, in order.
    barge_ins: tuple[float, ...] = ()
    # Our processing time: from the caller's packet to Gemini, from Gemini's chunk to the packet.
    share_in: float | None = None
    share_out: float | None = None

    @property
    def response_p50(self) -> float | None:
        """The median of the responses."""
        return median(self.responses) if self.responses else None

    @property
    def response_max(self) -> float | None:
        """The longest response."""
        return max(self.responses, default=None)

    @classmethod
    def from_events(cls, events: Iterable[tuple[str, Mapping[str, Any]]]) -> Self:
        """Read the latencies from events, given as (kind, detail) in order; others are ignored.

        A tool may note anything under these names, so values that are no duration are ignored.
        """
        once: dict[str, float] = {}
        each: dict[str, list[float]] = {RESPONSE: [], BARGE_IN: []}
        for kind, detail in events:
            if kind == FIRST_SOUND:
                _keep(once, "first_sound", detail.get("ms"))
            elif kind == SHARE:
                _keep(once, "share_in", detail.get("in_ms"))
                _keep(once, "share_out", detail.get("out_ms"))
            elif kind in each and (ms := _duration(detail.get("ms"))) is not None:
                each[kind].append(ms)
        return cls(responses=tuple(each[RESPONSE]), barge_ins=tuple(each[BARGE_IN]), **once)


def _keep(once: dict[str, float], name: str, value: object) -> None:
    """Keep the first of several: a stream that replaces a lost one starts no new measurement."""
    if (ms := _duration(value)) is not None:
        once.setdefault(name, ms)


def _duration(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= LONGEST_MS else None
