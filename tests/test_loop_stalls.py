"""Which stalls a test holds against this system."""

import pytest

from server.code_places import CodePlace
from server.loop_watchdog import Stall
from tests.loop_stalls import of_the_system

SSL = (CodePlace("ssl", "SSLObject.write", 930), CodePlace("server.desk", "Desk.begin", 1))
SLEEP = (CodePlace("server.desk", "Desk.begin", 1),)


def computes(place: str, secs: float = 0.012, looks: int = 2) -> Stall:
    return Stall(place, 0.08, secs, 0.04, (), looks)


def waits(stack: tuple[CodePlace, ...]) -> Stall:
    return Stall("server.desk:Desk.begin", 0.08, 0.001, 0.06, stack, 20)


@pytest.mark.parametrize(
    "place", ["agent.call_log:CallLog.write", "server.desk:Desk.begin in asyncio", "pipelines:x"]
)
def test_computing_in_code_of_ours_is_held_against_it(place: str) -> None:
    assert of_the_system([computes(place)]) == [computes(place)]


@pytest.mark.parametrize(
    "other",
    [
        computes("server.emulators.ears:Ears.hear"),
        computes("json.decoder:decode"),
        computes("many"),
        computes("gc", looks=0),
        computes("server.desk:Desk.begin", secs=0.009),
        computes("server.desk:Desk.begin", looks=1),
    ],
)
def test_what_is_not_ours_or_not_certain_is_not(other: Stall) -> None:
    assert of_the_system([other]) == []


def test_waiting_counts_from_its_second_time_on_and_where_one_can_wait() -> None:
    assert of_the_system([waits(SLEEP)]) == []
    assert of_the_system([waits(SLEEP), waits(SLEEP)]) == [waits(SLEEP), waits(SLEEP)]
    assert of_the_system([waits(SSL), waits(SSL)]) == []
