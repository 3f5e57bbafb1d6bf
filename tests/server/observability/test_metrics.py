"""What is measured arrives in Prometheus' text, app by app."""

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.measures import (
    BargeIn,
    DownlinkShare,
    FirstSound,
    Measure,
    ModelConnect,
    ModelDrop,
    ModelLeftOut,
    Packets,
    TurnResponse,
    UplinkShare,
    WarmUp,
    WarmWaste,
)
from agent.record.models import Call, CallStatus, Direction, EndReason, now_utc
from server.observability.metrics import Metrics

DOCS = Path(__file__).parents[3] / "docs"


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.as_text().decode())
        for sample in family.samples
    }


def test_every_measure_of_a_call_is_counted() -> None:
    metrics = Metrics()
    for measure in (
        FirstSound(0.02),
        TurnResponse(0.7),
        BargeIn(0.05),
        UplinkShare(0.0004),
        DownlinkShare(0.002),
        WarmUp("used", 2.4),
        WarmUp("released", 12),
        WarmUp("released", 7),
        WarmWaste("output", "audio", 90),
        WarmWaste("output", "audio", 10),
        WarmWaste("input", "text", 300),
        ModelConnect("ok", 0.4),
        ModelConnect("1011", 0.1),
        ModelDrop("1011"),
        ModelLeftOut("part"),
        Packets(received=50, sent=40),
        Packets(received=1, sent=2),
    ):
        metrics.observe(measure)
    seen = samples(metrics)
    assert seen["voice_ai_first_sound_seconds_sum", ()] == 0.02
    assert seen["voice_ai_turn_response_seconds_sum", ()] == 0.7
    assert seen["voice_ai_barge_in_seconds_sum", ()] == 0.05
    assert seen["voice_ai_share_in_seconds_sum", ()] == 0.0004
    assert seen["voice_ai_share_out_seconds_sum", ()] == 0.002
    assert seen["voice_ai_warm_ups_total", ("used",)] == 1
    assert seen["voice_ai_warm_ups_total", ("released",)] == 2
    assert seen["voice_ai_warm_up_seconds_sum", ()] == 2.4
    assert seen["voice_ai_warm_waste_tokens_total", ("output", "audio")] == 100
    assert seen["voice_ai_warm_waste_tokens_total", ("input", "text")] == 300
    assert seen["voice_ai_model_connect_seconds_count", ()] == 2
    assert seen["voice_ai_model_connects_total", ("ok",)] == 1
    assert seen["voice_ai_model_connects_total", ("1011",)] == 1
    assert seen["voice_ai_model_drops_total", ("1011",)] == 1
    assert seen["voice_ai_model_left_out_total", ("part",)] == 1
    assert seen["voice_ai_packets_total", ("in",)] == 51
    assert seen["voice_ai_packets_total", ("out",)] == 42


@pytest.mark.parametrize(
    ("name", "measure", "finest", "coarsest"),
    [
        ("first_sound", FirstSound, 0.001, 10),
        ("turn_response", TurnResponse, 0.05, 10),
        ("barge_in", BargeIn, 0.001, 2),
        ("share_in", UplinkShare, 0.0005, 1),
        ("share_out", DownlinkShare, 0.0005, 1),
    ],
)
def test_what_a_phone_makes_felt_falls_between_the_buckets(
    name: str, measure: Callable[[float], Measure], finest: float, coarsest: float
) -> None:
    metrics = Metrics()
    bounds = [0.0, *sorted(bucket_counts(metrics, name))]
    assert bounds[1] == finest
    assert bounds[-2:] == [coarsest, float("inf")]
    # Each bucket ends at most three times as far as the one before it.
    assert all(end <= 3 * begin for begin, end in pairwise(bounds[1:-1]))
    for begin, end in pairwise(bounds[:-1]):
        before = bucket_counts(metrics, name)
        metrics.observe(measure((begin + end) / 2))
        after = bucket_counts(metrics, name)
        assert {bound for bound in after if after[bound] > before[bound]} == {
            bound for bound in bounds[1:] if bound >= end
        }


def bucket_counts(metrics: Metrics, name: str) -> dict[float, float]:
    """How many were at most so many seconds."""
    return {
        float(labels[0]): value
        for (sample, labels), value in samples(metrics).items()
        if sample == f"voice_ai_{name}_seconds_bucket"
    }


def test_the_metrics_that_the_documentation_names_are_there() -> None:
    families = text_string_to_metric_families(Metrics().as_text().decode())
    kinds = {family.name: family.type for family in families}
    named = {
        (page.name, name)
        for page in DOCS.glob("*.md")
        for name in re.findall(r"\bvoice_ai_\w+", page.read_text())
    }
    assert sum(page == "latency.md" for page, _ in named) > 8
    for page, name in named:
        family = re.sub(r"_(bucket|total|count|sum)$", "", name)
        assert family in kinds, f"{page}: {name}"
        assert (kinds[family] == "counter") == name.endswith("_total"), f"{page}: {name}"


def test_a_call_is_counted_with_its_outcome_and_how_long_it_was() -> None:
    metrics = Metrics()
    now = now_utc()
    call = Call(
        direction=Direction.INBOUND,
        status=CallStatus.COMPLETED,
        end_reason=EndReason.AGENT,
        phone_number="+1",
        our_number="+2",
        pipeline="p",
        answered_at=now,
        ended_at=now + timedelta(seconds=66),
    )
    metrics.call_ended(call)
    seen = samples(metrics)
    assert seen["voice_ai_calls_total", ("inbound", "agent", "completed")] == 1
    assert seen["voice_ai_call_duration_seconds_sum", ()] == 66


def test_apps_do_not_share_their_measures() -> None:
    one, other = Metrics(), Metrics()
    one.rejected.labels("flood").inc()
    assert ("voice_ai_rejected_requests_total", ("flood",)) in samples(one)
    assert ("voice_ai_rejected_requests_total", ("flood",)) not in samples(other)
