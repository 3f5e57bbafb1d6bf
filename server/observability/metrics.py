"""Prometheus metrics of `/metrics`; one registry for each app."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from loguru import logger
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    start_http_server,
)

from agent.lifecycle.statuses import CallStatus, Direction, EndReason
from agent.measures import (
    BargeIn,
    CassetteEnded,
    CassetteWritten,
    DeadAir,
    DownlinkShare,
    FirstSound,
    Measure,
    ModelConnect,
    ModelDeadAir,
    ModelDrop,
    ModelLeftOut,
    ModelSwitch,
    Packets,
    PlaybackGap,
    RecordingEnded,
    RecordingWritten,
    ToolLetGo,
    TurnResponse,
    UplinkShare,
    WarmUp,
    WarmWaste,
)
from agent.record.models import Call

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# In seconds, finest in the expected range: a prewarmed first sound takes 5 to 20 ms, a cold one
# seconds, a reply 0.5 to 1.5 s.
FIRST_SOUND_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10),
)
RESPONSE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)
BARGE_IN_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2)
GAP_BUCKETS = (0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5)
SHARE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
CONNECT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
CALL_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400)
RING_BUCKETS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 240)
QUEUE_BUCKETS = (1, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
# Alerts fire at the first of these.
OUR_FAULTS = (EndReason.NO_MODEL, EndReason.SYSTEM)
# Why a call leaves its instance, and what comes of it.
MOVES = (
    *(("asked", outcome) for outcome in ("moved", "refused", "ended")),
    ("stopping", "moved"),
    *product(("frozen", "stuck"), ("pulled", "refused")),
)
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)


@dataclass(frozen=True)
class _Timed:
    """A histogram of `secs` of the measures for which `only` is true."""

    name: str
    says: str
    buckets: tuple[float, ...]
    only: Callable[[Any], bool] = lambda _: True

    def add_to(self, registry: CollectorRegistry) -> Callable[[Any], None]:
        """Register the metric; return a function that takes a measure."""
        metric = _histogram(registry, self.name, self.says, self.buckets)
        return lambda measure: metric.observe(measure.secs) if self.only(measure) else None


@dataclass(frozen=True)
class _Counted:
    """A counter; `counts` returns label values and amounts for a measure."""

    name: str
    says: str
    labels: tuple[str, ...]
    counts: Callable[[Any], Iterable[tuple[tuple[str, ...], float]]]
    # Labels that are there from the start, at 0: a first value is no increase to Prometheus.
    known: tuple[tuple[str, ...], ...] = ()

    def add_to(self, registry: CollectorRegistry) -> Callable[[Any], None]:
        """Register the metric; return a function that takes a measure."""
        metric = _counter(registry, self.name, self.says, *self.labels)
        for labels in self.known:
            metric.labels(*labels)

        def count(measure: Any) -> None:
            for labels, amount in self.counts(measure):
                (metric.labels(*labels) if labels else metric).inc(amount)

        return count


# The metrics of each kind of measure.
_METRICS_OF: Mapping[type[Measure], tuple[_Timed | _Counted, ...]] = {
    FirstSound: (
        _Timed(
            "first_sound_seconds", "From answer to the agent's first sound.", FIRST_SOUND_BUCKETS
        ),
    ),
    TurnResponse: (
        _Timed(
            "turn_response_seconds", "From the caller's last sound to the reply.", RESPONSE_BUCKETS
        ),
    ),
    BargeIn: (
        _Timed("barge_in_seconds", "From the caller's interruption to silence.", BARGE_IN_BUCKETS),
    ),
    PlaybackGap: (
        _Timed(
            "playback_gap_seconds",
            "Silences inside a reply: its next sound came too late.",
            GAP_BUCKETS,
        ),
    ),
    DeadAir: (
        _Counted(
            "dead_air",
            "Silences so long that something was done about them, by what was silent.",
            ("what",),
            lambda it: [((it.what,), 1)],
            known=(("caller",), ("model",), ("model_gone",)),
        ),
    ),
    UplinkShare: (
        _Timed("share_in_seconds", "From a caller's packet to Gemini's socket.", SHARE_BUCKETS),
    ),
    DownlinkShare: (
        _Timed("share_out_seconds", "From Gemini's chunk to its first packet sent.", SHARE_BUCKETS),
    ),
    WarmUp: (
        _Counted(
            "warm_ups",
            "What became of preparing calls while they rang.",
            ("outcome",),
            lambda it: [((it.outcome,), 1)],
        ),
        _Timed(
            "warm_up_seconds",
            "From the beginning of preparing a call to its answer, when that was used.",
            RING_BUCKETS,
            only=lambda it: it.outcome == "used",
        ),
    ),
    WarmWaste: (
        _Counted(
            "warm_waste_tokens",
            "Tokens of sessions that were prepared, and that nobody talked to.",
            ("direction", "modality"),
            lambda it: [((it.direction, it.modality), it.tokens)],
        ),
    ),
    ModelConnect: (
        _Timed("model_connect_seconds", "Attempts to open a Gemini session.", CONNECT_BUCKETS),
        _Counted(
            "model_connects",
            "Attempts to open a Gemini session, by outcome.",
            ("outcome",),
            lambda it: [((it.outcome,), 1)],
        ),
    ),
    ModelDeadAir: (
        _Counted(
            "model_dead_air",
            "Callers who waited for too long for an answer, by cause and by what was done.",
            ("cause", "action"),
            lambda it: [((it.cause, it.action), 1)],
        ),
    ),
    ModelSwitch: (
        _Counted(
            "model_switches",
            "Connections that took over from another one that was open, by cause.",
            ("cause",),
            lambda it: [((it.cause,), 1)],
        ),
    ),
    ModelDrop: (
        _Counted(
            "model_drops",
            "Gemini sessions that ended before the call did, by reason.",
            ("reason",),
            lambda it: [((it.reason,), 1)],
        ),
    ),
    ModelLeftOut: (
        _Counted(
            "model_left_out",
            "Messages of Gemini's, or parts of them, that were not used, by what was wrong.",
            ("what",),
            lambda it: [((it.what,), 1)],
        ),
    ),
    Packets: (
        _Counted(
            "packets",
            "Twilio media messages.",
            ("direction",),
            lambda it: [(("in",), it.received), (("out",), it.sent)],
        ),
    ),
    RecordingEnded: (
        _Counted(
            "recordings",
            "Recordings of calls that ended, by outcome.",
            ("outcome",),
            lambda it: [((it.outcome,), 1)],
        ),
    ),
    RecordingWritten: (
        _Counted(
            "recording_bytes",
            "Bytes of sound written to recordings.",
            (),
            lambda it: [((), it.byte_count)],
        ),
    ),
    CassetteEnded: (
        _Counted(
            "cassettes",
            "Cassettes of calls that ended, by outcome.",
            ("outcome",),
            lambda it: [((it.outcome,), 1)],
        ),
    ),
    CassetteWritten: (
        _Counted(
            "cassette_bytes",
            "Bytes written to cassettes.",
            (),
            lambda it: [((), it.byte_count)],
        ),
    ),
    ToolLetGo: (
        _Counted(
            "tools_let_go",
            "Tools that ran on although they were cancelled, by name.",
            ("tool",),
            lambda it: [((it.tool,), 1)],
        ),
    ),
}


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._text: bytes | None = None
        self._takers = {
            kind: [metric.add_to(registry) for metric in metrics]
            for kind, metrics in _METRICS_OF.items()
        }
        self.calls = _counter(
            registry, "calls", "Calls that ended, by outcome.", "direction", "status", "end_reason"
        )
        for labels in product(Direction, (CallStatus.COMPLETED, CallStatus.FAILED), OUR_FAULTS):
            self.calls.labels(*labels)
        self.duration = _histogram(
            registry, "call_duration_seconds", "From answer to end.", CALL_BUCKETS
        )
        self.active = _gauge(
            registry, "active_calls", "Calls that this instance holds a place for."
        )
        self.capacity = _gauge(
            registry, "call_capacity", "Calls that this instance may hold places for."
        )
        self.talking = _gauge(
            registry, "running_pipelines", "Calls whose pipeline runs on this instance."
        )
        self.relayed = _gauge(
            registry, "relayed_streams", "Streams that this instance passes on to another one."
        )
        self.relays = _counter(
            registry,
            "relays",
            "Streams whose call another instance had, by whether that one took them.",
            "outcome",
        )
        for outcome in ("relayed", "refused", "late", "failed"):
            self.relays.labels(outcome)
        self.waited_in_line = Histogram(
            "voice_ai_inbound_queue_seconds",
            "How long callers waited for a free place, by how that ended.",
            ("outcome",),
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        for outcome in ("taken", "hung_up", "too_long"):
            self.waited_in_line.labels(outcome)
        self.moves = _counter(
            registry,
            "moves",
            "Calls that leave an instance: why, and what came of it; counted where it is decided.",
            "reason",
            "outcome",
        )
        for reason, came_of_it in MOVES:
            self.moves.labels(reason, came_of_it)
        self.taken_over = _counter(
            registry,
            "calls_taken_over",
            "Calls of other instances that went on here, by how those left them.",
            "how",
        )
        for how in ("quiet", "hurried", "lost"):
            self.taken_over.labels(how)
        self.warm_sessions = _gauge(
            registry, "warm_sessions", "Sessions that are open for phones that ring."
        )
        self.bad_messages = _counter(
            registry,
            "bad_messages",
            "Messages of media streams that made no sense and were passed over.",
        )
        self.rows_waiting = _gauge(
            registry, "record_rows_waiting", "Rows of records that are not in the database yet."
        )
        self.rows_lost = _gauge(
            registry,
            "record_rows_lost",
            "Rows that were dropped or that the database refused, since the start.",
        )
        self.ready = Gauge(
            "voice_ai_ready",
            "1 where /health/ready says ok, as of this scrape; by check.",
            ["check"],
            registry=registry,
        )
        self.rejected = _counter(
            registry,
            "rejected_requests",
            "Requests and streams that were turned away, by reason.",
            "reason",
        )
        self.rejected.labels("capacity")
        ProcessCollector(registry=registry)
        self.lag = _histogram(
            registry,
            "event_loop_lag_seconds",
            "How late the event loop wakes a sleeper.",
            LAG_BUCKETS,
        )

    def observe(self, measure: Measure) -> None:
        """Take one measure of a running call: this is its MeasureSink."""
        for take in self._takers[type(measure)]:
            take(measure)

    def call_ended(self, call: Call) -> None:
        """Count a call with its outcome."""
        self.calls.labels(call.direction, call.status, call.end_reason or "none").inc()
        if call.answered_at and call.ended_at:
            self.duration.observe(max(0.0, (call.ended_at - call.answered_at).total_seconds()))

    def as_text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def shared_text(self) -> bytes:
        """`as_text`, made once for all who ask in the same turn of the event loop."""
        if self._text is None:
            self._text = self.as_text()
            asyncio.get_running_loop().call_soon(self._forget_text)
        return self._text

    @contextmanager
    def served_at(self, host: str, port: int) -> Iterator[None]:
        """Serve the metrics at an address of their own, by Prometheus' client library, in threads.

        Raises: OSError when it cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            logger.error("METRICS_ADDRESS cannot be listened on", why=error.strerror)
            raise
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _forget_text(self) -> None:
        self._text = None


def _histogram(
    registry: CollectorRegistry, name: str, says: str, buckets: tuple[float, ...]
) -> Histogram:
    return Histogram(f"voice_ai_{name}", says, buckets=buckets, registry=registry)


def _counter(registry: CollectorRegistry, name: str, says: str, *labels: str) -> Counter:
    return Counter(f"voice_ai_{name}", says, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, says: str) -> Gauge:
    return Gauge(f"voice_ai_{name}", says, registry=registry)
