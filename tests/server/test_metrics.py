"""What is measured arrives in Prometheus' text, app by app."""

import asyncio
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from agent.calls import Call, CallStatus, Direction, EndReason, now_utc
from agent.measures import BargeIn, FirstSound, ModelConnect, ModelDrop, Packets, TurnResponse
from server.metrics import LoopLag, Metrics


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
        ModelConnect("ok", 0.4),
        ModelConnect("1011", 0.1),
        ModelDrop("1011"),
        Packets(received=50, sent=40),
        Packets(received=1, sent=2),
    ):
        metrics.observe(measure)
    seen = samples(metrics)
    assert seen["voice_ai_first_sound_seconds_sum", ()] == 0.02
    assert seen["voice_ai_turn_response_seconds_sum", ()] == 0.7
    assert seen["voice_ai_barge_in_seconds_sum", ()] == 0.05
    assert seen["voice_ai_model_connect_seconds_count", ()] == 2
    assert seen["voice_ai_model_connects_total", ("ok",)] == 1
    assert seen["voice_ai_model_connects_total", ("1011",)] == 1
    assert seen["voice_ai_model_drops_total", ("1011",)] == 1
    assert seen["voice_ai_packets_total", ("in",)] == 51
    assert seen["voice_ai_packets_total", ("out",)] == 42


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


async def test_the_loop_is_sampled_until_it_is_closed() -> None:
    metrics = Metrics()
    lag = LoopLag(metrics)
    lag.open()

    def count() -> float:
        return samples(metrics)["voice_ai_event_loop_lag_seconds_count", ()]

    while count() < 2:  # noqa: ASYNC110 (the sampler tells nobody)
        await asyncio.sleep(0.05)
    await lag.close()
    assert samples(metrics)["voice_ai_event_loop_lag_seconds_sum", ()] >= 0
