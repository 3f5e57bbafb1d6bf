"""What the relay adds: the table and the JSON of two loads, and, as a long test, a small run."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from server.bench.load.stage import LoadOptions
from server.bench.relay import RelayResult, as_json, measure_relay, print_relay
from tests.server.bench.load.samples import a_call, a_load

DIRECT = a_load(a_call(0), a_call(1))
RELAYED = a_load(a_call(0, latency_ms=3.0), a_call(1, latency_ms=3.0))
RESULT = RelayResult(DIRECT, RELAYED, relay_share=0.01, owner_share=0.05)


def printed(result: RelayResult) -> str:
    out = io.StringIO()
    print_relay(result, Console(file=out, width=100))
    return out.getvalue()


def test_latencies_of_both_ways_and_the_share_are_told() -> None:
    told = as_json(RESULT)
    assert told["calls"] == 2
    assert told["problems"] == []
    for way in ("packet to model", "chunk to phone"):
        assert told[way]["direct"] == pytest.approx([2.0, 2.0])
        assert told[way]["relayed"] == pytest.approx([3.0, 3.0])
    shares = told["relay_core_share"], told["owner_core_share"], told["cpu_ratio"]
    assert shares == pytest.approx((0.01, 0.05, 0.2))


def test_the_table_tells_what_is_added_and_what_it_costs_a_call() -> None:
    table = printed(RESULT)
    for way in ("packet to model", "chunk to phone"):
        (row,) = [line for line in table.splitlines() if way in line]
        assert [part.strip() for part in row.split("│")[2:5]] == [
            "2.00 / 2.00",
            "3.00 / 3.00",
            "+1.00 / +1.00",
        ]
    assert "5.00 ms to pass it on, 25.00 ms to carry it: 20%" in table


def test_an_owner_that_took_no_time_is_no_division_by_zero() -> None:
    assert replace(RESULT, owner_share=0.0).cpu_ratio == 0.0


def test_what_the_relay_loses_is_a_problem() -> None:
    lossy = replace(RESULT, relayed=a_load(a_call(0, lost=12), problems=("call 1 ended",)))
    assert RESULT.problems == []
    failed, *damaged = lossy.problems
    assert failed == "call 1 ended"
    assert [problem.split(":")[0] for problem in damaged] == [
        "relayed, up",
        "relayed, down",
    ]
    assert all(" 1 markers lost, 0 strange" in problem for problem in damaged)
    assert as_json(lossy)["problems"] == lossy.problems
    assert failed in printed(lossy)


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_two_calls_are_measured_direct_and_passed_on() -> None:
    told: list[str] = []
    result = await measure_relay(2, LoadOptions(secs=5.0), told.append)
    assert told == ["2 calls, direct", "2 calls, relayed"]
    assert [problem for problem in result.problems if "markers" not in problem] == []
    for load in (result.direct, result.relayed):
        assert load.calls == 2
        assert all(way.ms is not None and way.ms.count for way in (load.up, load.down))
    # Both servers did something: one for the other.
    assert result.relay_share > 0 < result.owner_share
