"""ProcessingLatency: the medians of our own share of a call's latency."""

from array import array
from statistics import median

from agent.measures import DownlinkShare, Measure, MeasureSink, UplinkShare

# One sample a second each way: an hour.
MOST_SAMPLES = 3_600


class ProcessingLatency:
    """A measure sink that passes everything on, and keeps `UplinkShare` and `DownlinkShare`."""

    def __init__(self, measure: MeasureSink) -> None:
        self._measure = measure
        self._in, self._out = array("d"), array("d")

    def take(self, measure: Measure) -> None:
        """Take one measure; this is the call's MeasureSink."""
        if isinstance(measure, UplinkShare) and len(self._in) < MOST_SAMPLES:
            self._in.append(measure.secs)
        elif isinstance(measure, DownlinkShare) and len(self._out) < MOST_SAMPLES:
            self._out.append(measure.secs)
        self._measure(measure)

    def typical(self) -> dict[str, float] | None:
        """The median of each direction, in ms; None without samples."""
        sides = {"in_ms": self._in, "out_ms": self._out}
        return {name: round(median(secs) * 1000, 2) for name, secs in sides.items() if secs} or None
