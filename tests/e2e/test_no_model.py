"""Calls whose model is not there, refuses or falls silent: an apology, or a person is dialled."""

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Answer, Person, TwilioEmulator
from server.emulators.twilio.handset import Handset
from server.twilio.twiml import SENTENCES
from tests.e2e.conftest import APOLOGY, OPENING, World
from tests.server.conftest import THEIRS, ServerFactory
from tests.server.routes.test_twilio_media import PIPELINES, kinds


async def test_without_a_model_the_caller_hears_an_apology_and_the_call_ends(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = Answer()
    # Where no Gemini listens.
    async with start_server() as server:
        call = await server.place(language="de-DE")
        phone = await twilio.call_placed()
        assert await phone.ended() == "completed"
        result = (await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})).json()
        assert (result["status"], result["end_reason"]) == ("completed", "no_model")
        assert result["error"].startswith("Gemini refused a session: ")
        assert phone.record.all("twilio.says")
        await server.until_metric(PIPELINES, 0)
        assert await server.metric("voice_ai_active_calls") == 0


@pytest.mark.parametrize("wrong", ["key", "model"])
async def test_gemini_refuses_key_or_model_and_the_caller_hears_an_apology(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    async with GeminiLiveEmulator(
        api_keys=["no-key"] if wrong == "model" else ["another"]
    ) as gemini:
        gemini.behaviour.models = frozenset({"models/another"}) if wrong == "model" else None
        for name, value in gemini.environment().items():
            monkeypatch.setenv(name, value)
        twilio.people[THEIRS] = Answer()
        async with start_server() as server:
            call = await server.place()
            phone = await twilio.call_placed()
            assert await phone.ended() == "completed"
            result = (
                await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})
            ).json()
            assert (result["status"], result["end_reason"]) == ("completed", "no_model")
            assert "model.refused" in await kinds(server, call)
            assert [said.detail["text"] for said in phone.record.all("twilio.says")] == [APOLOGY]
            labels = 'direction="outbound",end_reason="no_model",status="completed"'
            assert await server.metric(f"voice_ai_calls_total{{{labels}}}") == 1
            text = (await server.http.get("/metrics")).text
            assert 'voice_ai_model_connects_total{outcome="refused_' in text


SOMEBODY = "+15550100777"
HANDED_ON = SENTENCES["handed_on"]["en"]


@pytest.mark.parametrize("fallback", [SOMEBODY, None])
async def test_when_every_session_falls_silent_the_caller_is_told_and_handed_on(
    world: World, fallback: str | None
) -> None:
    async def caller(phone: Handset) -> None:
        await phone.listen_until_silence()
        # Those that are open say nothing more, and those to come never anything.
        for session in world.gemini.sessions:
            session.stall()
        world.gemini.behaviour.setup_secs = 1000.0
        await phone.say(OPENING)
        await phone.pause(60.0)
        phone.hang_up()

    call = await world.dial(Person(caller), fallback_number=fallback)
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "no_model")
    assert result["error"] == "Gemini fell silent (no_answer)"
    said = [said.detail["text"] for said in call.record.all("twilio.says")]
    assert said == [HANDED_ON if fallback else APOLOGY]
    assert [each.number for each in call.record.transfers] == ([fallback] if fallback else [])
    events = (await world.server.http.get(f"/calls/{result['id']}/events")).json()["events"]
    air = [event["detail"] for event in events if event["kind"] == "model.dead_air"]
    assert air == [
        {"cause": "no_answer", "action": "filled"},
        {"cause": "no_answer", "action": "given_up"},
    ]
    for action in ("filled", "given_up"):
        name = f'voice_ai_model_dead_air_total{{action="{action}",cause="no_answer"}}'
        assert await world.server.metric(name) == 1


async def test_when_gemini_is_not_there_a_person_is_dialled(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = Answer()
    # Where no Gemini listens.
    async with start_server() as server:
        await server.place(fallback_number=SOMEBODY)
        phone = await twilio.call_placed()
        assert await phone.ended() == "completed"
        assert [said.detail["text"] for said in phone.record.all("twilio.says")] == [HANDED_ON]
        assert [each.number for each in phone.record.transfers] == [SOMEBODY]
