"""Callers who wait for a free line: INBOUND_QUEUE_SECONDS."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import EmulatedCall, Handset, TwilioEmulator
from tests.e2e.conftest import World
from tests.server.conftest import OUR_NUMBER, ServerFactory

FULL = 'voice_ai_rejected_requests_total{reason="capacity"}'


@pytest.fixture
async def world(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> AsyncIterator[World]:
    async with start_server(max_concurrent_calls=1, inbound_queue_seconds=15) as server:
        yield World(server, gemini, twilio)


class Caller:
    """Somebody who listens until they have had enough."""

    def __init__(self) -> None:
        self.enough = asyncio.Event()

    async def __call__(self, phone: Handset) -> None:
        await self.enough.wait()
        phone.hang_up()


async def calls_in(world: World, caller: Caller, number: int) -> EmulatedCall:
    return await world.twilio.call_in(
        f"+1555010000{number}",
        OUR_NUMBER,
        f"{world.server.url}/twilio/inbound",
        caller,
        status_callback=f"{world.server.url}/twilio/status",
    )


async def waited(world: World, outcome: str) -> float:
    return await world.server.metric(f'voice_ai_inbound_queue_seconds_count{{outcome="{outcome}"}}')


async def test_callers_wait_and_are_taken_in_the_order_in_which_they_came(world: World) -> None:
    one, two, three, four = Caller(), Caller(), Caller(), Caller()
    talking = await calls_in(world, one, 1)
    await talking.happened("stream.started")
    second = await calls_in(world, two, 2)
    await second.happened("twilio.says")
    leaves = await calls_in(world, three, 3)
    await leaves.happened("twilio.says")
    fourth = await calls_in(world, four, 4)
    await fourth.happened("twilio.says")
    three.enough.set()
    await leaves.settled()
    assert leaves.record.errors == []
    assert await waited(world, "hung_up") == 1

    one.enough.set()
    await second.happened("stream.started")
    assert fourth.record.first("stream.started") is None
    two.enough.set()
    await fourth.happened("stream.started")
    four.enough.set()
    await fourth.settled()
    assert await waited(world, "taken") == 2
    assert await world.server.metric(FULL) == 0
    calls = (await world.server.http.get("/calls")).json()["calls"]
    assert {call["twilio_sid"] for call in calls} == {talking.sid, second.sid, fourth.sid}


async def test_after_its_time_a_caller_hears_that_all_lines_are_busy(world: World) -> None:
    one, two = Caller(), Caller()
    talking = await calls_in(world, one, 1)
    await talking.happened("stream.started")
    waits = await calls_in(world, two, 2)
    await waits.settled()
    answered, *_, last = (seen.at for seen in waits.record.all("twiml.fetched"))
    assert 15 <= last - answered < 25
    asked_to_hold, told = (seen.detail["text"] for seen in waits.record.all("twilio.says"))
    assert "hold the line" in asked_to_hold, "not each time that Twilio asks"
    assert "call again" in told
    assert await waited(world, "too_long") == 1
    assert await world.server.metric(FULL) == 1
    one.enough.set()
    await talking.settled()
