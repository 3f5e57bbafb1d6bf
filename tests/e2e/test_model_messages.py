"""Whatever the model sends while its session lives, the call goes on."""

import asyncio
from typing import Any

import pytest

from server.emulators.gemini_live import Script
from server.emulators.gemini_live.session import Session
from server.emulators.twilio import Handset, HangUp, Person, Say, WaitForAgent
from tests.e2e.conftest import AT_NINE, GOODBYE, GREETING, OPENING, THANKS, World, heard, turns

UNKNOWN: list[Any] = [
    {"somethingNew": {"state": "x"}},
    {"serverContent": {"mood": "sunny"}},
    {"serverContent": [1, 2]},
    {"serverContent": {"modelTurn": {"parts": [{"hologram": {}}, 7, {"inlineData": "x"}]}}},
    {"serverContent": {"outputTranscription": {"text": 5}}},
    {"serverContent": {"turnCompleteReason": {"a": 1}}},
    {"toolCall": {"functionCalls": "all"}},
    {"toolCallCancellation": {"ids": {"a": 1}}},
    {"usageMetadata": {"responseTokensDetails": [{"modality": 3, "tokenCount": "many"}]}},
    {"goAway": "soon"},
    {"sessionResumptionUpdate": {"newHandle": 5, "resumable": "perhaps"}},
    {"error": {"code": 500, "message": "Only a hint.", "status": "INTERNAL"}},
    {"code": 1011, "message": "closing"},
    {"setupComplete": "again"},
    {},
    [],
    [{"serverContent": {"turnComplete": True}}],
    7,
    None,
    "text",
]
GARBAGE = ["", "{", "<html>", '{"serverContent": {"modelTurn": ', "\x00\x1b[31m", "[" * 50_000]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"modelTurn": value, "parts": [value]} if depth < 10 else {"modelTurn": value}
    return {"serverContent": value}


async def sent_all(session: Session) -> None:
    for message in [*UNKNOWN, nested(8), nested(400)]:
        await session.send(message)
        await session.send(message, text_frame=True)
    for text in GARBAGE:
        await session.send_garbage(text)


async def events_of(world: World, result: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await world.server.http.get(f"/calls/{result['id']}/events")
    return list(answer.json()["events"])


async def test_no_message_of_the_models_ends_its_session(world: World) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await sent_all(world.gemini.sessions[0])
        await phone.say(OPENING)
        await phone.listen_until_silence()
        await sent_all(world.gemini.sessions[0])
        await phone.say(THANKS)

    call = await world.dial(person)
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert len(world.gemini.sessions) == 1
    assert turns(result) == [
        ("agent", GREETING, False),
        ("caller", OPENING, False),
        ("agent", AT_NINE, False),
        ("caller", THANKS, False),
        ("agent", GOODBYE, False),
    ]
    assert heard(call, GREETING, AT_NINE, GOODBYE) == [GREETING, AT_NINE, GOODBYE]
    left_out = [e for e in await events_of(world, result) if e["kind"] == "model.left_out"]
    told = [(event["detail"]["what"], event["detail"]["name"]) for event in left_out]
    assert len(told) == len(set(told)), "each kind once"
    assert ("message", "somethingNew") in told
    assert ("not_json", "not_json") in told
    (error,) = [event["detail"] for event in left_out if event["detail"]["name"] == "error"]
    assert error["said"] == "Only a hint."
    garbage = await world.server.metric('voice_ai_model_left_out_total{what="not_json"}')
    assert garbage == 2 * len(GARBAGE)


async def test_an_unknown_message_every_second_cuts_no_reply(world: World) -> None:
    async def person(phone: Handset) -> None:
        session = await world.gemini.session()

        async def send() -> None:
            while session.is_open:
                await session.send({"somethingNew": {"state": "x"}})
                await asyncio.sleep(1)

        sending = asyncio.create_task(send())
        await phone.listen_until_silence()
        await phone.pause(6)
        await phone.say(OPENING)
        await phone.listen_until_silence()
        sending.cancel()
        phone.hang_up()

    call = await world.dial(person)
    result = await world.result(call)
    assert result["end_reason"] == "caller"
    assert turns(result)[-1] == ("agent", AT_NINE, False)
    assert len(world.gemini.sessions) == 1
    kinds = [event["kind"] for event in await events_of(world, result)]
    assert kinds.count("model.left_out") == 1
    counted = await world.server.metric('voice_ai_model_left_out_total{what="message"}')
    assert counted > 6


async def test_what_is_known_beside_the_unknown_is_used(world: World) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        session = world.gemini.sessions[0]
        await session.send(
            {
                "serverContent": {"inputTranscription": {"text": "I am known.", "tone": 3}},
                "somethingNew": 1,
            }
        )
        await session.send(
            {
                "serverContent": {"turnComplete": True, "mood": []},
                "usageMetadata": {
                    "carbonGrams": 2,
                    "responseTokensDetails": [
                        {"modality": "AUDIO", "tokenCount": 1000},
                        {"modality": "HOLOGRAM", "tokenCount": 7, "colour": "blue"},
                        {"modality": "TEXT", "tokenCount": 10**30},
                    ],
                },
            }
        )
        await session.send(
            {
                "toolCall": {
                    "functionCalls": [
                        {"id": "f1", "name": "hang_up", "args": {}, "urgency": "high"},
                    ],
                    "plan": "leave",
                }
            }
        )

    call = await world.dial(person)
    result = await world.result(call)
    assert result["end_reason"] == "agent"
    assert ("caller", "I am known.", False) in turns(result)
    used = {
        row["modality"]: row["tokens"] for row in result["usage"] if row["direction"] == "output"
    }
    assert used["audio"] >= 1000
    assert used["other"] == 7
    assert used.get("text", 0) < 10**9
    world.gemini.errors.clear()  # it did not ask for the function itself


async def test_what_is_unknown_in_the_answer_to_the_setup_refuses_no_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.emulators.gemini_live import server_messages

    strange = {"setupComplete": {"sessionId": 5, "region": ["x"]}, "somethingNew": {}}
    monkeypatch.setattr(server_messages, "setup_complete", lambda _: strange)
    call = await world.dial(Person([WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert turns(result) == [("agent", GREETING, False)]
    assert len(world.gemini.sessions) == 1


# --- speech at other rates -------------------------------------------------------------------

LONG = "We are open from nine in the morning until five in the afternoon."


@pytest.mark.parametrize(
    "step",
    [
        {"rate": 22_050},
        {"rate": 16_000, "mime_type": 'Audio/PCM; rate="16000"; channels=1'},
        *(
            pytest.param(step, marks=pytest.mark.long)
            for step in (
                {"rate": 8_000},
                {"rate": 16_000},
                {"rate": 48_000},
                {"rate": 16_000, "mime_type": "audio/L16;codec=pcm;rate=16000"},
            )
        ),
        {"mime_type": "audio/pcm"},
    ],
    ids=str,
)
async def test_speech_is_played_at_the_rate_that_it_says(
    world: World, step: dict[str, Any]
) -> None:
    world.gemini.script = Script.parse(
        {"rules": [{"hears": OPENING, "do": [{"say": LONG, **step}]}]}
    )
    call = await world.dial(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert turns(result)[-1] == ("agent", LONG, False)
    assert heard(call, GREETING, LONG) == [GREETING, LONG]
    reply = world.gemini.sessions[0].log.replies[-1]
    span = call.record.agent_speech(pause_secs=0.8)[-1]
    assert span.end_secs - span.start_secs == pytest.approx(reply.secs, abs=0.25)
    assert call.record.gaps == []


async def test_a_greeting_of_another_rate_is_shared_at_the_right_pace(world: World) -> None:
    world.gemini.script = Script.parse(
        {"rules": [{"text_contains": "Greet them", "do": [{"say": GREETING, "rate": 16_000}]}]}
    )
    spans = []
    for _ in range(2):
        call = await world.dial(Person([WaitForAgent(), HangUp()]))
        await world.result(call)
        assert heard(call, GREETING) == [GREETING]
        spans += call.record.agent_speech(pause_secs=0.8)
    first, second = (span.end_secs - span.start_secs for span in spans)
    assert second == pytest.approx(first, abs=0.1)


@pytest.mark.parametrize(
    "kind",
    [
        "audio/opus",
        # `tests/pipelines/gemini/test_speech_format.py` reads them, too.
        pytest.param("audio/pcm;rate=0", marks=pytest.mark.long),
        pytest.param("audio/pcm;channels=2", marks=pytest.mark.long),
    ],
)
async def test_speech_that_cannot_be_played_is_left_out(world: World, kind: str) -> None:
    said = {"hears": OPENING, "do": [{"say": LONG, "mime_type": kind}, {"say": AT_NINE}]}
    world.gemini.script = Script.parse({"rules": [said]})
    call = await world.dial(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert result["end_reason"] == "caller"
    assert heard(call, GREETING, LONG, AT_NINE) == [GREETING, AT_NINE]
    assert len(world.gemini.sessions) == 1
    (left_out,) = [e for e in await events_of(world, result) if e["kind"] == "model.left_out"]
    assert left_out["detail"] == {"what": "sound_type", "name": kind}
