"""What a server did under one load, as both vendors noticed it. No clock, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.pacer import LATE_MS
from server.bench.load.playout import Gap
from server.bench.load.trail import Arrival, Trail
from server.bench.statistics import Summary, summarise
from server.bench.systems import System
from server.bench.tables import told

# A stall of the load generator explains a gap that is this near.
_NEAR_SECS = 0.01
# A generator that takes more of its core than this is near its own limit.
BUSY_SHARE = 0.85
OTHERS_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """One direction: latencies in ms of packets or chunks with a marker.

    `lost` markers never came. `missing_ms` of sound did not come between two that did.
    `strange` markers were another call's, garbled, or came twice.
    """

    ms: Summary | None
    lost: int
    missing_ms: float
    strange: int

    @property
    def is_whole(self) -> bool:
        """Whether all came, once, and nothing else."""
        return not (self.lost or self.missing_ms or self.strange)

    def __str__(self) -> str:
        return f"{self.lost} markers lost, {self.strange} strange, {self.missing_ms:.0f} ms missing"


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took, of the server's process and of ours; `late_ms` is ours.

    `others_share` of the server's core went to processes that have nothing to do with it; None
    when they could not keep it waiting, or it had no core of its own.
    """

    secs: float
    cpu_secs: float
    idle_mb: float
    resident_mb: float
    others_share: float | None
    generator_share: float
    late_ms: Summary | None


@dataclass(frozen=True, slots=True)
class Load:
    """So many calls on one server. Times in ms, memory in MB (10^6 bytes).

    `down` is of all chunks with a marker, `first_chunk_ms` of those that begin a reply: only these
    find nothing before them that is still to be played. `own_gaps` fall together with a stall of
    the load generator.
    """

    system: System
    calls: int
    up: Way
    down: Way
    first_chunk_ms: Summary | None
    gap_ms: Summary | None
    gaps: int
    own_gaps: int
    cost: Cost
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"{self.name}: in {told(self.up.ms, 'p50', 'p99')} ms, "
            f"out {told(self.first_chunk_ms, 'p50', 'p99')} ms, {self.gaps} gaps, "
            f"lost {self.lost}, {self.core_share:.0%} of a core"
        )

    @property
    def name(self) -> str:
        """How many calls on which system."""
        return f"{self.calls} × {self.system}"

    @property
    def lost(self) -> str:
        """Markers that never came or were strange, and ms of sound, both ways."""
        ways = (self.up, self.down)
        markers = sum(way.lost + way.strange for way in ways)
        return f"{markers}, {sum(way.missing_ms for way in ways):.0f}"

    @property
    def damages(self) -> list[str]:
        """What was lost or strange, in words, by direction."""
        ways = {"up": self.up, "down": self.down}
        return [f"{name}: {way}" for name, way in ways.items() if not way.is_whole]

    @property
    def cpu_per_call_minute(self) -> float:
        """CPU seconds."""
        return self.cost.cpu_secs / self.calls / (self.cost.secs / 60)

    @property
    def core_share(self) -> float:
        """How much of one core the server took."""
        return self.cost.cpu_secs / self.cost.secs

    @property
    def mb_per_call(self) -> float:
        """Memory that a call adds."""
        return (self.cost.resident_mb - self.cost.idle_mb) / self.calls

    @property
    def generator_was_limit(self) -> bool:
        """Whether the load generator was too late or busy for the figures to be the server's."""
        late = self.cost.late_ms
        return self.cost.generator_share > BUSY_SHARE or (late is not None and late.p99 > LATE_MS)

    @property
    def others_were_there(self) -> bool:
        """Whether somebody else used the server's core: CPU time and latencies hold that too."""
        return (self.cost.others_share or 0.0) > OTHERS_SHARE


@dataclass(frozen=True, slots=True)
class Window:
    """When it was measured; `stalls` of the load generator as (when it went on, ms)."""

    began: float
    ended: float
    stalls: Sequence[tuple[float, float]] = ()

    def holds(self, at: float) -> bool:
        """Whether a moment is in it."""
        return self.began <= at < self.ended

    def is_own(self, gap: Gap) -> bool:
        """Whether a gap falls together with a stall."""
        began = gap.at - gap.ms / 1000 - _NEAR_SECS
        return any(began <= at and at - ms / 1000 <= gap.at + _NEAR_SECS for at, ms in self.stalls)


def judge(
    system: System,
    calls: Sequence[LoadedCall],
    window: Window,
    cost: Cost,
    problems: Sequence[str],
) -> Load:
    """What the calls came to within a window; whoever was silent in it is a problem."""
    gaps = [gap for call in calls for gap in call.playout.gaps if window.holds(gap.at)]
    own = sum(map(window.is_own, gaps))
    ways = (("model", [call.up for call in calls]), ("phone", [call.down for call in calls]))
    up, down = (_way(trails, window) for _, trails in ways)
    silent = [
        f"call {trail.call}: nothing reached the {end}"
        for end, trails in ways
        for trail in trails
        if not _arrivals(trail, window)
    ]
    firsts = [
        one.latency_ms
        for call in calls
        for one in _arrivals(call.down, window)
        if one.sent.begins_reply
    ]
    return Load(
        system=system,
        calls=len(calls),
        up=up,
        down=down,
        first_chunk_ms=summarise(firsts),
        gap_ms=summarise([gap.ms for gap in gaps]),
        gaps=len(gaps) - own,
        own_gaps=own,
        cost=cost,
        problems=[*problems, *silent],
    )


def _way(trails: Sequence[Trail], window: Window) -> Way:
    arrivals = [one for trail in trails for one in _arrivals(trail, window)]
    return Way(
        ms=summarise([one.latency_ms for one in arrivals]),
        lost=sum(
            window.holds(sent.at) for trail in trails for sent in (*trail.lost, *trail.waiting())
        ),
        missing_ms=sum(max(0.0, one.missing_ms) for one in arrivals),
        strange=sum(window.holds(at) for trail in trails for at in trail.strange),
    )


def _arrivals(trail: Trail, window: Window) -> list[Arrival]:
    """Those that were sent within the window."""
    return [one for one in trail.arrivals if window.holds(one.sent.at)]
