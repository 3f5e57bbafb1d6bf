"""Calls without a model, which is not there or refuses: the caller hears an apology."""

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Answer, TwilioEmulator
from tests.e2e.conftest import APOLOGY
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
