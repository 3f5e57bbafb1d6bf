"""Which stalls a test sees, and holds against this system."""

import asyncio
import time

import pytest

from tests.loop_stalls import Stall, of_the_system, watched_loop

BEGIN = "server/calls/call_registry.py:CallRegistry.begin"
SSL = (("ssl.py:SSLObject.write", 930), (BEGIN, 1))
SLEEP = ((BEGIN, 1),)


def computes(place: str = BEGIN, secs: float = 0.012) -> Stall:
    return Stall(secs, 0.04, ((place, 3),))


def waits(stack: tuple[tuple[str, int], ...]) -> Stall:
    return Stall(0.001, 0.06, stack)


@pytest.mark.parametrize(
    "place", ["agent/record/call_log.py:CallLog.write", BEGIN, "pipelines/x.py:x"]
)
def test_computing_in_code_of_ours_is_held_against_it(place: str) -> None:
    assert of_the_system([computes(place)]) == [computes(place)]


@pytest.mark.parametrize(
    "other",
    [
        computes("server/emulators/ears.py:Ears.hear"),
        computes("json/decoder.py:decode"),
        computes(secs=0.009),
    ],
)
def test_what_is_not_ours_or_not_certain_is_not(other: Stall) -> None:
    assert of_the_system([other]) == []


def test_waiting_counts_from_its_second_time_on_and_where_one_can_wait() -> None:
    assert of_the_system([waits(SLEEP)]) == []
    assert of_the_system([waits(SLEEP), waits(SLEEP)]) == [waits(SLEEP), waits(SLEEP)]
    assert of_the_system([waits(SSL), waits(SSL)]) == []


def works(secs: float) -> None:
    until = time.thread_time() + secs
    while time.thread_time() < until:
        pass


async def many_steps() -> None:
    """One coroutine that takes long, and lets others run all the time."""
    for _ in range(100):
        works(0.001)
        await asyncio.sleep(0)


async def test_who_computes_for_long_is_named_and_who_lets_others_run_is_not() -> None:
    with watched_loop() as stalls:
        await many_steps()
        assert of_the_system(stalls) == []
        works(0.1)
        await asyncio.sleep(0.02)
        assert [stall.place for stall in of_the_system(stalls)] == [
            "tests/test_loop_stalls.py:works"
        ]
