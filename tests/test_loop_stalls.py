"""Which stalls a test holds against this system."""

import pytest

from server.loop_watchdog import Stall
from tests.loop_stalls import of_the_system


def stall(
    place: str, *, computed_secs: float = 0.012, waited_secs: float = 0, looks: int = 2
) -> Stall:
    return Stall(place, 0.08, computed_secs, waited_secs, (), looks)


@pytest.mark.parametrize(
    "place", ["agent.call_log:CallLog.write", "server.desk:Desk.begin in asyncio", "pipelines:x"]
)
def test_code_of_ours_is_held_against_it(place: str) -> None:
    assert of_the_system([stall(place)]) == [stall(place)]
    waits = stall(place, computed_secs=0, waited_secs=0.06)
    assert of_the_system([waits]) == [waits]


@pytest.mark.parametrize(
    "other",
    [
        stall("server.emulators.ears:Ears.hear"),
        stall("json.decoder:decode"),
        stall("many"),
        stall("gc", looks=0),
        stall("server.desk:Desk.begin", computed_secs=0.009, waited_secs=0.04),
        stall("server.desk:Desk.begin", looks=1),
    ],
)
def test_what_is_not_ours_or_not_certain_is_not(other: Stall) -> None:
    assert of_the_system([other]) == []
