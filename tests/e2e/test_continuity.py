"""Through the wire: a call that nobody waited for, and one that is changed while it goes on."""

import json

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.gemini_live.session import Session
from server.emulators.twilio import HangUp, Person, Say, TwilioEmulator, WaitForAgent
from server.emulators.twilio.handset import Handset
from tests.e2e.conftest import GREETING, OPENING, World, turns
from tests.server.conftest import OUR_NUMBER, ServerFactory


async def test_the_first_caller_hears_a_greeting_that_was_ready_before(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    gemini.behaviour.setup_secs = 2.0
    route = {OUR_NUMBER: {"pipeline": "phone_call", "greeting": GREETING}}
    async with start_server(inbound_pool=1, inbound_numbers=json.dumps(route)) as server:
        world = World(server, gemini, twilio)
        first = await gemini.session()
        await first.until(lambda session: session.log.turns_complete == 1)
        call = await world.call_in(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]))
        result = await world.result(call)
        assert [who for who, _, _ in turns(result)] == ["agent", "caller", "agent"]
        assert result["phone_number"] != "unknown"
        started = call.record.first("stream.started")
        heard = call.record.first("media.first_out")
        assert started is not None
        assert heard is not None
        assert heard.at - started.at <= 0.02
        rang = call.record.first("ringing")
        assert rang is not None
        asked = [
            event.kind
            for session in gemini.sessions
            for event in session.log.events
            if event.direction == "in" and rang.at <= event.at <= heard.at
        ]
        assert asked == [], "nothing was asked of Gemini after the ring"
        assert "heard" in {event.kind for event in first.log.events}, "it is the same session"
        events = (await server.http.get(f"/calls/{result['id']}/events")).json()["events"]
        assert "model.connected" in [event["kind"] for event in events]
        await gemini.session(1)  # another one is ready


async def test_a_call_that_waited_for_too_long_is_renewed_and_its_cost_counted(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    route = {OUR_NUMBER: {"pipeline": "phone_call", "greeting": GREETING}}
    async with start_server(inbound_pool=1, inbound_numbers=json.dumps(route)) as server:
        world = World(server, gemini, twilio)
        first = await gemini.session()
        await first.until(lambda session: session.log.turns_complete == 1)
        second = await gemini.session(1, timeout=300.0)
        await first.until(lambda session: not session.is_open)
        unused = 'voice_ai_warm_ups_total{outcome="pool_unused"}'
        assert await server.metric(unused) == 1
        spoken = 'voice_ai_warm_waste_tokens_total{direction="output",modality="audio"}'
        assert await server.metric(spoken) > 0
        call = await world.call_in(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]))
        result = await world.result(call)
        assert [who for who, _, _ in turns(result)] == ["agent", "caller", "agent"]
        assert heard_speech(second)


async def test_a_prompt_that_is_changed_and_a_hint_reach_the_model(world: World) -> None:
    async def caller(phone: Handset) -> None:
        await phone.listen_until_silence()
        (live,) = (await world.server.http.get("/calls")).json()["calls"]
        url = f"/calls/{live['id']}"
        changed = await world.server.http.patch(
            url, json={"system_prompt": "Be brief.", "tools": ["hang_up"]}
        )
        assert changed.status_code == 204
        unknown = await world.server.http.patch(url, json={"tools": ["fly"]})
        assert unknown.status_code == 422
        assert "hang_up" in unknown.json()["detail"]
        await world.gemini.session(1)
        await phone.pause(1.0)
        hinted = await world.server.http.post(f"{url}/hint", json={"text": "Offer tea."})
        assert hinted.status_code == 204
        await phone.pause(1.0)
        await phone.say(OPENING)
        await phone.listen_until_silence()
        phone.hang_up()

    call = await world.dial(Person(caller))
    result = await world.result(call)
    first, second = world.gemini.sessions
    assert second.setup["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert second.setup["sessionResumption"]["handle"]
    assert any("Offer tea." in text for _, text in second.conversation.history)
    assert not heard_speech(first)
    assert heard_speech(second)
    assert [who for who, _, _ in turns(result)] == ["agent", "caller", "agent"]
    late = await world.server.http.post(f"/calls/{result['id']}/hint", json={"text": "Too late."})
    assert late.status_code == 409
    missing = await world.server.http.patch(f"/calls/{'0' * 32}", json={})
    assert missing.status_code == 404


def heard_speech(session: Session) -> bool:
    return any(sentence is not None for sentence in session.log.heard)
