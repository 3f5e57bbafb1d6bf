"""What has to hold for a core to carry so many calls."""

from dataclasses import dataclass

from server.bench.load.measured import Load


@dataclass(frozen=True, slots=True)
class Targets:
    """Milliseconds at the 99th percentile, either way; nothing lost and no gap, ever."""

    up_p99_ms: float = 25.0
    down_p99_ms: float = 40.0

    def missed(self, load: Load) -> list[str]:
        """Which do not hold, in words; empty when all do."""
        missed = []
        if load.problems:
            missed.append(f"{len(load.problems)} problems, the first: {load.problems[0]}")
        for name, summary, most in (
            ("packet to Gemini", load.up.ms, self.up_p99_ms),
            ("chunk to Twilio", load.first_chunk_ms, self.down_p99_ms),
        ):
            if summary is None:
                missed.append(f"{name}: nothing came")
            elif summary.p99 > most:
                missed.append(f"{name}: {summary.p99:.1f} ms at p99, not {most:g}")
        if load.gaps:
            missed.append(f"{load.gaps} gaps")
        for name, way in (("up", load.up), ("down", load.down)):
            if not way.is_whole:
                missed.append(
                    f"{name}: {way.lost} markers lost, {way.strange} strange, "
                    f"{way.missing_ms:.0f} ms missing"
                )
        return missed
