"""CloudWatchMetrics: writes a few metrics to standard output, for Amazon CloudWatch to extract.

One line of JSON a minute in the embedded metric format. ECS's log driver sends it to CloudWatch
Logs with the other lines, which makes metrics of it: no agent, no further permission. Instances
write under the same dimension, so that a metric's Average is per instance, and its Sum that of all.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from prometheus_client import CollectorRegistry

EVERY_SECS = 60.0
SERVICE = "app"
# End reasons of calls that failed on our side or on Gemini's.
FAILURES = ("no_model", "system")
LATE_BEAT_SECS = 0.1

Count = Callable[[CollectorRegistry], float]


def _total(name: str, only: Callable[[Mapping[str, str]], bool] = lambda _: True) -> Count:
    """The sum of a metric's samples of this name with labels for which `only` is true."""

    def count(registry: CollectorRegistry) -> float:
        return sum(
            sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == name and only(sample.labels)
        )

    return count


_beats = _total("voice_ai_event_loop_lag_seconds_count")
_beats_in_time = _total(
    "voice_ai_event_loop_lag_seconds_bucket", lambda it: float(it["le"]) == LATE_BEAT_SECS
)
# Each is written as what came since the last line.
COUNTERS: Mapping[str, Count] = {
    "CallsEnded": _total("voice_ai_calls_total"),
    "CallsFailed": _total("voice_ai_calls_total", lambda it: it["end_reason"] in FAILURES),
    "CallsTurnedAway": _total(
        "voice_ai_rejected_requests_total", lambda it: it["reason"] == "capacity"
    ),
    "ModelConnectsFailed": _total(
        "voice_ai_model_connects_total", lambda it: it["outcome"] != "ok"
    ),
    "LateLoopBeats": lambda registry: _beats(registry) - _beats_in_time(registry),
}


class CloudWatchMetrics:
    """Writes a line every minute from `registry`; `capacity` is the most calls of this instance."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        namespace: str,
        capacity: int,
        sink: TextIO | None = None,
        every_secs: float = EVERY_SECS,
    ) -> None:
        self._registry = registry
        self._namespace = namespace
        self._capacity = capacity
        self._sink = sink
        self._every_secs = every_secs
        self._counted = dict.fromkeys(COUNTERS, 0.0)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start on the running loop; the first line comes at once."""
        self._task = asyncio.create_task(self._write_lines(), name="cloudwatch-metrics")

    async def close(self) -> None:
        """Write what came since the last line, and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._write()

    def line(self) -> str:
        """The next line; counters are told from the line before."""
        live = _total("voice_ai_active_calls")(self._registry)
        values = {"LiveCalls": live, "OccupiedPercent": round(100 * live / self._capacity, 1)}
        for name, count in COUNTERS.items():
            now = count(self._registry)
            values[name] = now - self._counted[name]
            self._counted[name] = now
        said = {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [["Service"]],
                        "Metrics": [{"Name": name, "Unit": _unit(name)} for name in values],
                    }
                ],
            },
            "Service": SERVICE,
            **values,
        }
        return json.dumps(said)

    async def _write_lines(self) -> None:
        while True:
            self._write()
            await asyncio.sleep(self._every_secs)

    def _write(self) -> None:
        sink = self._sink or sys.stdout
        sink.write(self.line() + "\n")
        sink.flush()


def _unit(name: str) -> str:
    return "Percent" if name.endswith("Percent") else "Count"
