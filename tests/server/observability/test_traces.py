"""A call that ended arrives as one trace, by OTLP, at a collector that listens."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent.record.models import (
    Call,
    CallEvent,
    CallStatus,
    Direction,
    EndReason,
    Speaker,
    Turn,
    now_utc,
)
from server.observability import traces
from server.observability.traces import CallTraces

SECRETS = ("+4930123456", "my secret words", "Ada")


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.bodies: list[bytes] = []

    def spans(self) -> dict[str, Span]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return {
            span.name: span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


class _Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        assert self.path == "/v1/traces"
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as listens:
        thread = threading.Thread(target=listens.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{listens.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        yield listens
        listens.shutdown()
        thread.join()


class Record:
    """The record of one call, as `CallTraces` reads it."""

    def __init__(self, events: list[CallEvent], turns: list[Turn]) -> None:
        self._events, self._turns = events, turns

    async def events(self, call_id: str) -> list[CallEvent]:
        return self._events

    async def transcript(self, call_id: str) -> list[Turn]:
        return self._turns


def ended_call(reason: EndReason = EndReason.CALLER) -> Call:
    now = now_utc()
    return Call(
        direction=Direction.OUTBOUND,
        status=CallStatus.COMPLETED,
        end_reason=reason,
        phone_number=SECRETS[0],
        our_number="+15550100",
        pipeline="phone_call",
        created_at=now,
        answered_at=now + timedelta(seconds=2),
        ended_at=now + timedelta(seconds=12),
    )


def record_of(call: Call) -> Record:
    def event(secs: float, kind: str, **detail: object) -> CallEvent:
        at = call.created_at + timedelta(seconds=secs)
        return CallEvent(call_id=call.id, at=at, kind=kind, detail=detail)

    events = [
        event(0.8, "model.connected", resumed=False, ms=700),
        event(7.0, "tool.called", name="book", arguments={"for": SECRETS[2]}),
        event(8.0, "tool.answered", name="book", ok=True, ms=1000),
        event(9.0, "latency.response", ms=640.5, turn=2),
    ]
    turns = [
        Turn(call_id=call.id, who=Speaker.AGENT, text="Hello!", start_ms=20, end_ms=900),
        Turn(call_id=call.id, who=Speaker.CALLER, text=SECRETS[1], start_ms=1500, end_ms=3000),
    ]
    return Record(events, turns)


async def traced(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "RECORD_IS_WHOLE_AFTER_SECS", 0)
    exporting = CallTraces(record_of(call))  # type: ignore[arg-type]
    exporting.call_ended(call)
    await exporting.close()


async def test_a_call_is_one_trace_of_ring_connect_turns_and_tools(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ended_call()
    await traced(call, monkeypatch)
    spans = collector.spans()
    assert set(spans) == {"call", "ring", "connect", "agent", "caller", "tool book"}
    assert {span.trace_id.hex() for span in spans.values()} == {call.id}
    root = spans.pop("call")
    assert not root.parent_span_id
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    secs = {
        name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        for name, span in spans.items()
    }
    assert secs == pytest.approx(
        {"ring": 2, "connect": 0.7, "agent": 0.88, "caller": 1.5, "tool book": 1}, abs=0.001
    )
    for span in spans.values():
        assert root.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    assert root.status.code == Status.STATUS_CODE_UNSET


async def test_a_trace_holds_nothing_that_was_said_and_no_number(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await traced(ended_call(), monkeypatch)
    sent = b"".join(collector.bodies)
    assert b"call.end_reason" in sent
    assert [secret for secret in SECRETS if secret.encode() in sent] == []


async def test_a_call_that_we_failed_is_an_error(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await traced(ended_call(EndReason.NO_MODEL), monkeypatch)
    assert collector.spans()["call"].status.code == Status.STATUS_CODE_ERROR
