"""The demo of durable lives, with faults: what `make soak` does with 500 calls."""

import pytest

from server.demo.durable import run_durable


@pytest.mark.long
@pytest.mark.real_time
@pytest.mark.timeout(400)
async def test_calls_end_once_and_as_planned_whatever_fails() -> None:
    told: list[str] = []
    lived = await run_durable(told.append, calls=16, faults=True)
    assert lived.problems == []
    assert lived.stuck == 0
    assert len(lived.calls) == 16
    assert [line for line in told if "SIGKILL" in line]
