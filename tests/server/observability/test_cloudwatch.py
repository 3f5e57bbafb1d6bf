"""Lines in CloudWatch's embedded metric format, as CloudWatch reads them."""

import asyncio
import io
import json
from typing import Any

import pytest

from agent.measures import ModelConnect
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.observability.cloudwatch import CloudWatchMetrics
from server.observability.metrics import Metrics
from tests.server.conftest import ServerFactory


def extracted(line: str) -> dict[str, float]:
    """What CloudWatch makes of a line: each metric that the metadata names, with its value."""
    said = json.loads(line)
    (directive,) = said["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "voice-ai-production"
    assert directive["Dimensions"] == [["Service"]]
    assert said["Service"] == "app"
    return {metric["Name"]: said[metric["Name"]] for metric in directive["Metrics"]}


def lines(metrics: Metrics, **changes: Any) -> CloudWatchMetrics:
    return CloudWatchMetrics(
        metrics.registry, **({"namespace": "voice-ai-production", "capacity": 50} | changes)
    )


def test_live_calls_are_told_with_their_share_of_the_capacity() -> None:
    metrics = Metrics()
    metrics.active.set_function(lambda: 20)
    values = extracted(lines(metrics).line())
    assert values["LiveCalls"] == 20
    assert values["OccupiedPercent"] == 40


def test_counters_are_told_from_the_line_before() -> None:
    metrics = Metrics()
    cloudwatch = lines(metrics)
    for reason in ("caller", "no_model", "system"):
        metrics.calls.labels("inbound", "completed", reason).inc()
    metrics.rejected.labels("capacity").inc(3)
    metrics.rejected.labels("invalid_request").inc()
    metrics.observe(ModelConnect("ok", 0.1))
    metrics.observe(ModelConnect("timeout", 5.0))
    for late in (0.001, 0.099, 0.2, 3.0):
        metrics.lag.observe(late)
    assert extracted(cloudwatch.line()) == {
        "LiveCalls": 0,
        "OccupiedPercent": 0,
        "CallsEnded": 3,
        "CallsFailed": 2,
        "CallsTurnedAway": 3,
        "ModelConnectsFailed": 1,
        "LateLoopBeats": 2,
    }
    metrics.calls.labels("outbound", "completed", "agent").inc()
    values = extracted(cloudwatch.line())
    assert (values["CallsEnded"], values["CallsFailed"], values["LateLoopBeats"]) == (1, 0, 0)


async def test_lines_come_regularly_and_once_more_at_the_end() -> None:
    metrics, sink = Metrics(), io.StringIO()
    cloudwatch = lines(metrics, sink=sink, every_secs=0.01)
    cloudwatch.open()
    while len(sink.getvalue().splitlines()) < 3:  # noqa: ASYNC110 (a text stream tells nobody)
        await asyncio.sleep(0.005)
    metrics.calls.labels("inbound", "completed", "caller").inc()
    await cloudwatch.close()
    written = [extracted(line)["CallsEnded"] for line in sink.getvalue().splitlines()]
    assert sum(written) == 1


async def test_a_server_writes_its_live_calls_to_standard_output(
    start_server: ServerFactory, twilio: TwilioEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    twilio.anyone = NoAnswer()
    namespace = {"cloudwatch_namespace": "voice-ai-production"}
    async with start_server(**namespace, max_concurrent_calls=4) as server:
        first = extracted(capsys.readouterr().out.splitlines()[0])
        await server.place()
    assert (first["LiveCalls"], first["OccupiedPercent"]) == (0, 0)
    last = extracted(capsys.readouterr().out.splitlines()[-1])
    assert last["CallsTurnedAway"] == 0
