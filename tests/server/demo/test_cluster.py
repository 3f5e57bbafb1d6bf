"""The demo of a cluster: what it judges, and, as a long test, what it shows."""

from dataclasses import replace

import pytest

from server.demo.cluster import run_cluster
from server.demo.cluster_calls import Heard

WELL = Heard(
    number="+1555",
    struck="killed",
    streams=2,
    silence_secs=1.2,
    back_secs=0.5,
    greetings=1,
    outcome="completed (agent)",
)


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        ({}, None),
        ({"outcome": "completed (system)"}, "ended completed (system)"),
        ({"greetings": 2}, "was greeted 2 times"),
        ({"silence_secs": 4.0}, "was silent for 4.0 s"),
        ({"silence_secs": 4.0, "struck": "killed, frozen"}, None),
    ],
)
def test_what_counts_as_lost(trouble: dict[str, object], problem: str | None) -> None:
    assert replace(WELL, **trouble).problem == problem  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_no_call_is_lost_when_one_of_three_is_killed_one_frozen_and_one_drained() -> None:
    told: list[str] = []
    heard = await run_cluster(told.append)
    assert [call.problem for call in heard if call.problem] == []
    assert {"killed", "frozen", "drained"} <= {
        word for call in heard for word in call.struck.split(", ")
    }
