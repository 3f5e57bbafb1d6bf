"""Nothing of this system blocks the event loop while calls run."""

import asyncio
import time

import pytest

from processors.polyphase import Polyphase
from server.emulators.twilio import Answer, HangUp, Person, Say, WaitForAgent
from tests.e2e.conftest import GREETING, OPENING, World
from tests.loop_stalls import Stall, of_the_system

pytestmark = pytest.mark.real_time

TALK = [WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]


async def one_call(world: World, number: str) -> None:
    world.twilio.people[number] = Answer(Person(TALK))
    await world.server.place(phone_number=number, greeting=GREETING)
    call = await world.twilio.call_placed(to=number)
    await call.ended()
    assert call.record.agent_speech(pause_secs=0.8)


@pytest.mark.long
async def test_neither_a_call_nor_ten_at_once_block_the_loop(
    world: World, stalls: list[Stall]
) -> None:
    # With its first call a process prepares what it was not asked for before.
    await one_call(world, "+15550100200")
    stalls.clear()
    await one_call(world, "+15550100201")
    assert of_the_system(stalls) == []
    numbers = [f"+1555010030{n}" for n in range(10)]
    await asyncio.gather(*(one_call(world, number) for number in numbers))
    assert of_the_system(stalls) == []


async def test_a_step_that_blocks_it_is_found(
    world: World, stalls: list[Stall], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(self: Polyphase, pcm: bytes) -> bytes:
        time.sleep(0.1)
        return converts(self, pcm)

    converts = Polyphase.convert
    monkeypatch.setattr(Polyphase, "convert", slowly)
    await (await world.dial(Person([WaitForAgent("start"), HangUp()]))).ended()
    found = [stall for stall in of_the_system(stalls) if stall.place.endswith("slowly")]
    assert found
