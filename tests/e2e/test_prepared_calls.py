"""Calls that ring: what is prepared meanwhile, and what becomes of it."""

import asyncio
import json

import pytest

from agent.record.call_log import CallLog
from agent.record.models import Call
from server.calls.call_registry import CallRegistry
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator
from server.emulators.twilio import (
    Answer,
    Busy,
    HangUp,
    NoAnswer,
    Person,
    TwilioEmulator,
    WaitForAgent,
)
from server.emulators.twilio.emulator import Somebody
from tests.e2e.conftest import GREETING, World, heard, turns
from tests.server.conftest import OUR_NUMBER, THEIRS, ServerFactory

OPEN = "voice_ai_warm_sessions"
USED = 'voice_ai_warm_ups_total{outcome="used"}'
WASTED = 'voice_ai_warm_waste_tokens_total{direction="output",modality="audio"}'
RINGS = ("initiated", "ringing")


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
    # At least the session's set-up is not waited for; a busy machine makes both later.
    assert warm_secs < cold_secs - world.gemini.behaviour.setup_secs
    assert await world.server.metric(USED) == 1


@pytest.mark.parametrize(("ring_secs", "outcome"), [(3.0, "used"), (0.5, "joined")])
async def test_adopting_a_prepared_session_never_connects_again(
    world: World, ring_secs: float, outcome: str
) -> None:
    world.gemini.behaviour.setup_secs = 1.0
    call = await world.dial(Answer(Person([WaitForAgent(), HangUp()]), ring_secs=ring_secs))
    result = await world.result(call)
    assert turns(result) == [("agent", GREETING, False)]
    assert world.gemini.connects == len(world.gemini.sessions) == 1
    assert await world.server.metric(f'voice_ai_warm_ups_total{{outcome="{outcome}"}}') == 1


async def test_the_first_word_waits_for_no_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = asyncio.Event()
    free.set()
    expect, get = CallRegistry.expect, CallLog.get

    def the_stream_comes_next(registry: CallRegistry, call: Call) -> None:
        expect(registry, call)
        free.clear()

    async def slow_get(log: CallLog, call_id: str) -> Call:
        await free.wait()
        return await get(log, call_id)

    monkeypatch.setattr(CallRegistry, "expect", the_stream_comes_next)
    monkeypatch.setattr(CallLog, "get", slow_get)
    call = await world.dial(Answer(Person([WaitForAgent(), HangUp()]), ring_secs=2.0))
    async with asyncio.timeout(20):
        await world.twilio.until(lambda: bool(call.record.all("media.first_in")))
    assert not free.is_set()
    free.set()
    assert (await world.result(call))["status"] == "completed"


async def test_a_greeting_that_calls_share_is_asked_for_once(world: World) -> None:
    for _ in range(2):
        call = await world.call_in(Person([WaitForAgent(), HangUp()]))
        await world.result(call)
    first, second = world.gemini.sessions
    assert len(first.log.texts) == 1
    assert second.log.texts == []
    assert second.log.replies == []


@pytest.mark.parametrize(
    ("somebody", "status"), [(Busy(ring_secs=2.0), "busy"), (NoAnswer(), "no_answer")]
)
async def test_what_nobody_answered_is_released_and_its_tokens_are_counted(
    start_server: ServerFactory,
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    somebody: Somebody,
    status: str,
) -> None:
    async with start_server(ring_timeout_seconds=5) as server:
        world = World(server, gemini, twilio)
        call = await world.dial(somebody)
        session = await gemini.session()
        await gemini.until(lambda: bool(session.log.replies))
        assert await server.metric(OPEN) == 1
        assert (await world.result(call))["status"] == status
        await gemini.until(lambda: not session.is_open)
        await server.until_metric(OPEN, 0)
        assert await server.metric('voice_ai_warm_ups_total{outcome="released"}') == 1
        assert await server.metric(WASTED) > 0


@pytest.mark.parametrize("connected", [False, True])
async def test_what_is_canceled_leaves_no_session_whether_it_was_open_yet_or_not(
    world: World, connected: bool
) -> None:
    world.gemini.behaviour.setup_secs = 1.0
    world.twilio.people[THEIRS] = NoAnswer()
    placed = await world.server.place(greeting=GREETING)
    await world.gemini.until(lambda: len(world.gemini.sessions) == 1)
    if connected:
        await world.gemini.session()
    await world.server.http.post(f"/calls/{placed['id']}/terminate")
    await world.gemini.until(lambda: not world.gemini.sessions[0].is_open)
    await world.server.until_metric(OPEN, 0)
    result = await world.result(await world.twilio.call_placed())
    assert (result["status"], result["end_reason"]) == ("canceled", "api")
    assert world.gemini.connects == 1


async def test_two_calls_to_one_number_are_prepared_each(world: World) -> None:
    someone = Answer(Person([WaitForAgent(), HangUp()]), ring_secs=2.0)
    await asyncio.gather(world.dial(someone), world.dial(someone, greeting="Hello again."))
    first, second = world.twilio.calls
    said = [turns(await world.result(call)) for call in (first, second)]
    assert sorted(said) == [
        [("agent", "Hello again.", False)],
        [("agent", GREETING, False)],
    ]
    assert len(world.gemini.sessions) == world.gemini.connects == 2
    assert await world.server.metric(USED) == 2
    assert first.record.gaps == second.record.gaps == []


async def test_a_process_that_stops_leaves_no_session_and_the_next_one_prepares_anew(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = NoAnswer()
    async with start_server() as server:
        placed = await server.place(greeting=GREETING)
        before = await gemini.session()
    assert not before.is_open
    async with start_server() as server:
        after = await gemini.session(1)
        assert (await server.http.get(f"/calls/{placed['id']}")).json()["status"] in RINGS
        await server.http.post(f"/calls/{placed['id']}/terminate")
        await gemini.until(lambda: not after.is_open)


async def test_an_incoming_call_is_prepared_before_twilio_opens_its_stream(world: World) -> None:
    call = await world.call_in(Person([WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert result["status"] == "completed"
    assert (world.gemini.connects, len(world.gemini.sessions)) == (1, 1)
    taken = [f'voice_ai_warm_ups_total{{outcome="{name}"}}' for name in ("used", "joined", "cold")]
    assert [await world.server.metric(line) for line in taken][2] == 0
    assert sum([await world.server.metric(line) for line in taken]) == 1


@pytest.mark.parametrize("because", ["the callee speaks first", "the limit", "no model"])
async def test_an_incoming_call_is_held_for_nothing_that_does_not_come(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator, because: str
) -> None:
    settings: dict[str, object] = {"answer_hold_ms": 10_000}
    if because == "the callee speaks first":
        route = {"pipeline": "phone_call", "greeting": ""}
        settings["inbound_numbers"] = json.dumps({OUR_NUMBER: route})
    elif because == "the limit":
        settings["prewarm_limit"] = 1
    else:
        gemini.faults = [ConnectFault(http_status=403)]
    async with start_server(**settings) as server:
        world = World(server, gemini, twilio)
        if because == "the limit":
            twilio.people[THEIRS] = NoAnswer()
            await server.place()
            await server.until_metric(OPEN, 1)
        async with asyncio.timeout(8):
            call = await world.call_in(Person())
            await twilio.until(lambda: bool(call.record.all("stream.started")))
        call.hang_up()
        assert await call.settled() == "completed"


async def test_an_incoming_call_may_ring_until_its_greeting_is_ready(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    gemini.behaviour.setup_secs, gemini.behaviour.thinking_secs = 1.0, 0.5
    firsts = []
    for hold_ms in (5000, 0):
        async with start_server(answer_hold_ms=hold_ms, greeting_cache=False) as server:
            world = World(server, gemini, twilio)
            call = await world.call_in(Person([WaitForAgent(), HangUp()]))
            await call.settled()
            firsts.append(call.record.first_sound_secs)
    held, at_once = firsts
    assert held < at_once / 3
