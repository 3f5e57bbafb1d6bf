"""Places: who gets one, who does not, and what other instances count."""

import pytest

from agent.live_calls import LiveCallsInMemory
from agent.loop_load import LoopLoad
from agent.record.models import Call
from server.calls.admission import Places
from tests.server.calls.test_call_registry import a_call


def places(live_calls: LiveCallsInMemory | None = None, **options: object) -> Places:
    defaults = {"instance": "here", "capacity": 2}
    return Places(live_calls or LiveCallsInMemory(), **(defaults | options))  # type: ignore[arg-type]


def test_a_call_has_one_place_however_often_it_asks() -> None:
    here = places()
    assert [here.reserve(a_call(call)) for call in ("1", "1", "2", "3")] == [
        True,
        True,
        True,
        False,
    ]
    assert (here.held, here.free) == (2, 0)
    assert here.free_place("1")
    assert not here.free_place("1")
    assert here.reserve(a_call("3"))


def test_a_call_that_is_there_already_has_a_place_over_the_capacity() -> None:
    here = places(capacity=1)
    here.hold("1")
    known: Call = a_call("2")
    assert here.hold("2", known) is here.hold("2") is here.record_of("2") is known
    assert (here.held, here.free, "1" in here, here.record_of("1")) == (2, 0, True, None)


async def test_one_that_finds_no_place_among_all_instances_leaves_none_taken_here() -> None:
    live_calls = LiveCallsInMemory()
    here, there = (
        places(live_calls, instance=name, fleet_capacity=1) for name in ("here", "there")
    )
    assert await here.admit(a_call("1"))
    assert not await there.admit(a_call("2"))
    assert there.held == 0
    here.free_place("1")
    await here.count_no_more("1")
    assert await there.admit(a_call("2"))


@pytest.mark.parametrize(
    "places_free", [{"capacity": 2}, {"capacity": 9, "fleet_capacity": 2}], ids=["here", "anywhere"]
)
async def test_who_has_waited_longer_has_a_place_before(places_free: dict[str, int]) -> None:
    here = places(**places_free)
    assert not await here.admit(a_call("third"), ahead=2)
    assert here.held == 0
    assert await here.admit(a_call("second"), ahead=1)
    assert not await here.admit(a_call("third"), ahead=1)
    assert await here.admit(a_call("first"), ahead=0)


async def test_a_call_that_gets_another_id_leaves_no_room_for_one_more() -> None:
    class Crowded(LiveCallsInMemory):
        async def dismiss(self, call_id: str) -> None:
            await super().dismiss(call_id)
            found_room.append(await self.admit("another", 1))

    found_room: list[bool] = []
    here = places(Crowded(), fleet_capacity=1)
    call = a_call("1")
    assert await here.admit(call)
    await here.hold_as(call, "2")
    assert found_room == [False]


async def test_an_admitted_call_may_get_another_id() -> None:
    live_calls = LiveCallsInMemory()
    here = places(live_calls, fleet_capacity=1)
    call = a_call("1")
    assert await here.admit(call)
    await here.hold_as(call, "2")
    assert (call.id, "1" in here, here.record_of("2")) == ("2", False, call)
    assert await live_calls.admit("2", 1)
    assert not await live_calls.admit("3", 1)


@pytest.mark.parametrize("why", ["draining", "overloaded"])
def test_a_call_with_a_place_keeps_it_while_no_other_gets_one(why: str) -> None:
    load = LoopLoad(0.1)
    here = places(load=load)
    assert here.reserve(a_call("1"))
    if why == "draining":
        here.draining = True
    else:
        for _ in range(5):
            load.observe(1.0)
    assert here.free == 0
    assert here.reserve(a_call("1"))
    assert not here.reserve(a_call("2"))


async def test_what_cannot_be_noted_stops_nothing() -> None:
    class Broken(LiveCallsInMemory):
        async def dismiss(self, call_id: str) -> None:
            raise ConnectionError("no Redis")

    here = places(Broken())
    call = a_call("1")
    assert await here.admit(call)
    await here.hold_as(call, "2")
    await here.count_no_more("2")
    assert here.held == 1
