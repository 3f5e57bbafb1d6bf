"""OpenTelemetry traces: each call that ended is one trace, made from its record.

    call ────────────────────────────────────────────────────────
      ring ───────────┐
      connect ──┐     answered
                        agent ──┐     agent ───────┐
                                caller ──┐         caller ──┐
                                          tool book ──┐

A trace is made when the call is over, so a call costs nothing while it lasts. Its id is the call's
id. Spans hold names, times and outcomes, never what was said, nor a phone number. The exporter
(OTLP over HTTP) reads the variables that OpenTelemetry defines, such as OTEL_EXPORTER_OTLP_ENDPOINT
and OTEL_EXPORTER_OTLP_HEADERS.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from loguru import logger
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode

from agent.lifecycle.statuses import CallStatus, EndReason
from agent.record.call_log import CallLog, NoSuchCall
from agent.record.database import DatabaseUnavailable
from agent.record.models import Call, CallEvent, Turn

# The last rows of a call are in the database about half a second after its end.
RECORD_IS_WHOLE_AFTER_SECS = 3.0
STOPS_WITHIN_SECS = 5.0
FAILURES = (EndReason.NO_MODEL, EndReason.SYSTEM)
# Events whose details are numbers and constants, and hold nothing of a person.
SAFE_DETAILS = ("latency.response", "latency.first_sound", "latency.barge_in", "model.dropped")

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True)
class CallSpan:
    """One span inside a call."""

    name: str
    begin: datetime
    end: datetime
    attributes: dict[str, Attribute] = field(default_factory=dict)
    failed: bool = False


def spans_of(call: Call, events: Iterable[CallEvent], turns: Iterable[Turn]) -> Iterator[CallSpan]:
    """The spans of a call that ended: ring, connect, turn and tool."""
    ended = call.ended_at or call.created_at
    yield CallSpan("ring", call.created_at, call.answered_at or ended)
    for event in events:
        took = timedelta(milliseconds=float(event.detail.get("ms", 0)))
        match event.kind:
            case "model.connected":
                resumed = {"resumed": bool(event.detail.get("resumed"))}
                yield CallSpan("connect", event.at - took, event.at, dict(resumed))
            case "tool.answered":
                name, ok = str(event.detail.get("name")), bool(event.detail.get("ok"))
                yield CallSpan(f"tool {name}", event.at - took, event.at, {"ok": ok}, not ok)
    if call.answered_at is not None:
        for turn in turns:
            yield CallSpan(
                turn.who.value,
                call.answered_at + timedelta(milliseconds=turn.start_ms),
                call.answered_at + timedelta(milliseconds=turn.end_ms),
                {"interrupted": turn.interrupted},
            )


class CallTraces:
    """Exports the trace of each call that ends."""

    def __init__(self, call_log: CallLog, exporter: SpanExporter | None = None) -> None:
        """`exporter`: OTLP over HTTP by default."""
        self._call_log = call_log
        self._ids = _CallIds()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create({"service.name": "voice-ai"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("voice-ai")
        self._making: set[asyncio.Task[None]] = set()

    def call_ended(self, call: Call) -> None:
        """Make the call's trace, once its record is whole."""
        making = asyncio.create_task(self._make(call), name="trace")
        self._making.add(making)
        making.add_done_callback(self._making.discard)

    async def close(self) -> None:
        """Make what waits, and export it, for `STOPS_WITHIN_SECS` each at most."""
        if self._making:
            await asyncio.wait(self._making, timeout=STOPS_WITHIN_SECS)
        await asyncio.to_thread(self._provider.force_flush, int(STOPS_WITHIN_SECS * 1000))
        await asyncio.to_thread(self._provider.shutdown)

    async def _make(self, call: Call) -> None:
        await asyncio.sleep(RECORD_IS_WHOLE_AFTER_SECS)
        try:
            events = await self._call_log.events(call.id)
            turns = await self._call_log.transcript(call.id)
        except (NoSuchCall, DatabaseUnavailable) as error:
            logger.warning("A call could not be traced", error=type(error).__name__)
            return
        self.export(call, events, turns)

    def export(self, call: Call, events: Iterable[CallEvent], turns: Iterable[Turn]) -> None:
        """Hand the call's spans to the exporter."""
        self._ids.call_id = int(call.id, 16)
        root = self._tracer.start_span(
            "call",
            kind=SpanKind.SERVER,
            start_time=_ns(call.created_at),
            attributes={
                "call.id": call.id,
                "call.direction": call.direction.value,
                "call.status": call.status.value,
                "call.end_reason": call.end_reason.value if call.end_reason else "",
                "call.pipeline": call.pipeline,
            },
        )
        events = list(events)
        for event in events:
            numbers = event.detail if event.kind in SAFE_DETAILS else {}
            safe = {name: value for name, value in numbers.items() if value is not None}
            root.add_event(event.kind, safe, timestamp=_ns(event.at))
        within = trace.set_span_in_context(root)
        for one in spans_of(call, events, turns):
            span = self._tracer.start_span(
                one.name, within, start_time=_ns(one.begin), attributes=one.attributes
            )
            if one.failed:
                span.set_status(Status(StatusCode.ERROR))
            span.end(_ns(one.end))
        if call.end_reason in FAILURES or call.status is CallStatus.FAILED:
            root.set_status(Status(StatusCode.ERROR, call.error or None))
        root.end(_ns(call.ended_at or call.created_at))


class _CallIds(RandomIdGenerator):
    """Gives a trace the id of its call."""

    call_id = 0

    def generate_trace_id(self) -> int:
        """The id of the call whose trace begins."""
        return self.call_id or super().generate_trace_id()


def _ns(at: datetime) -> int:
    """Nanoseconds since the epoch."""
    return int(at.timestamp() * 1e9)
