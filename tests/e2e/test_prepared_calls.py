"""Calls that ring: what is prepared meanwhile, and what becomes of it."""

import asyncio

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Answer, Busy, HangUp, Person, TwilioEmulator, WaitForAgent
from tests.e2e.conftest import GREETING, SCRIPT, World, heard, turns
from tests.server.conftest import ServerFactory


async def test_the_first_word_is_there_when_the_phone_is_picked_up(world: World) -> None:
    world.gemini.behaviour.setup_secs, world.gemini.behaviour.thinking_secs = 1.0, 0.5
    prepared = await world.dial(Answer(Person([WaitForAgent(), HangUp()]), ring_secs=3.0))
    result = await world.result(prepared)
    assert heard(prepared, GREETING) == [GREETING]
    assert prepared.record.gaps == []
    assert turns(result) == [("agent", GREETING, False)]
    cold = await world.dial(Answer(Person([WaitForAgent(), HangUp()])), greeting="Hello, cold one.")
    await world.result(cold)
    warm_secs, cold_secs = prepared.record.first_sound_secs, cold.record.first_sound_secs
    assert warm_secs is not None
    assert cold_secs is not None
    assert warm_secs < cold_secs / 5
    assert await world.server.metric('voice_ai_warm_ups_total{outcome="used"}') >= 1


async def test_adopting_a_prepared_session_never_connects_again(world: World) -> None:
    call = await world.dial(Answer(Person([WaitForAgent(), HangUp()]), ring_secs=2.0))
    await world.result(call)
    assert world.gemini.connects == 1
    assert len(world.gemini.sessions) == 1


async def test_a_greeting_that_calls_share_is_asked_for_once(world: World) -> None:
    for _ in range(2):
        call = await world.call_in(Person([WaitForAgent(), HangUp()]))
        await world.result(call)
    first, second = world.gemini.sessions
    assert len(first.log.texts) == 1
    assert second.log.texts == []
    assert second.log.replies == []


async def test_what_nobody_answered_is_released_and_counted(world: World) -> None:
    call = await world.dial(Busy(ring_secs=2.0))
    assert (await world.result(call))["status"] == "busy"
    await world.gemini.until(lambda: not any(s.is_open for s in world.gemini.sessions))
    assert await world.server.metric('voice_ai_warm_ups_total{outcome="released"}') == 1


async def test_two_calls_to_one_number_are_prepared_each(world: World) -> None:
    someone = Answer(Person([WaitForAgent(), HangUp()]), ring_secs=2.0)
    calls = await asyncio.gather(world.dial(someone), world.dial(someone, greeting="Hello again."))
    assert len({call.sid for call in calls}) in (1, 2)
    for call in world.twilio.calls:
        await world.result(call)
    assert len(world.gemini.sessions) == 2
    assert all(call.record.gaps == [] for call in world.twilio.calls)


async def test_an_incoming_call_may_ring_until_its_greeting_is_ready(
    start_server: ServerFactory, twilio: TwilioEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    firsts = []
    async with GeminiLiveEmulator(SCRIPT, setup_secs=1.0, thinking_secs=0.5) as gemini:
        for name, value in gemini.environment().items():
            monkeypatch.setenv(name, value)
        for hold_ms in (5000, 0):
            async with start_server(answer_hold_ms=hold_ms, greeting_cache=False) as server:
                world = World(server, gemini, twilio)
                call = await world.call_in(Person([WaitForAgent(), HangUp()]))
                await call.settled()
                firsts.append(call.record.first_sound_secs)
    held, at_once = firsts
    assert held < at_once / 3
