"""Whole phone calls over the real wire."""

import asyncio

import pytest

from server.emulators.gemini_live import ConnectFault, Script
from server.emulators.twilio import (
    Answer,
    Busy,
    Handset,
    HangUp,
    Person,
    Press,
    Say,
    WaitForAgent,
)
from tests.e2e.conftest import (
    APOLOGY,
    AT_NINE,
    GOODBYE,
    GREETING,
    OPENING,
    THANKS,
    World,
    heard,
    turns,
)
from tests.e2e.people import STOP, interrupts


@pytest.mark.real_time
async def test_a_call_goes_out_and_nothing_of_it_is_lost(world: World) -> None:
    call = await world.dial(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), Say(THANKS)]))
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert turns(result) == [
        ("agent", GREETING, False),
        ("caller", OPENING, False),
        ("agent", AT_NINE, False),
        ("caller", THANKS, False),
        ("agent", GOODBYE, False),
    ]
    starts = [turn["start_ms"] for turn in result["turns"]]
    assert starts == sorted(starts)
    assert heard(call, GREETING, AT_NINE, GOODBYE) == [GREETING, AT_NINE, GOODBYE]
    assert call.record.gaps == []
    assert call.record.errors == []
    assert {(row["direction"], row["modality"]) for row in result["usage"]} >= {
        ("input", "audio"),
        ("output", "audio"),
    }


async def test_a_call_comes_in_and_the_caller_hangs_up(world: World) -> None:
    call = await world.call_in(Person([WaitForAgent(), Say(OPENING), WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "caller")
    assert result["direction"] == "inbound"
    assert [text for who, text, _ in turns(result) if who == "caller"] == [OPENING]
    line = 'voice_ai_calls_total{direction="inbound",end_reason="caller",status="completed"}'
    assert await world.server.metric(line) == 1


async def test_a_barge_in_stops_the_agent_and_the_record_holds_what_was_heard(
    world: World,
) -> None:
    long = "One is for sales, two is for service, three is for the office, four is for the shop."
    world.gemini.script = Script.parse(
        {
            "rules": [
                {"hears": OPENING, "say": long},
                {"hears": STOP, "say": AT_NINE},
            ]
        }
    )

    call = await world.dial(interrupts)
    result = await world.result(call)
    spoken = turns(result)
    (cut,) = [text for who, text, interrupted in spoken if interrupted]
    assert long.startswith(cut)
    assert 0 < len(cut) < len(long) * 0.7
    assert spoken[-1] == ("agent", AT_NINE, False)
    cleared = call.record.first("clear")
    assert cleared is not None
    assert cleared.detail["dropped_ms"] > 0


async def test_keys_reach_the_model_and_a_tool_answers_them(world: World) -> None:
    world.gemini.script = Script.parse(
        {
            "rules": [
                {"text_contains": "pressed 1 ", "call": {"name": "confirm_appointment"}},
                {
                    "tool_result": "confirm_appointment",
                    "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}],
                },
            ]
        }
    )
    call = await world.dial(
        Person([WaitForAgent(), Press("1")]),
        greeting="Press one.",
        pipeline="reminder",
        metadata={"name": "Ms Lee"},
    )
    result = await world.result(call)
    assert result["end_reason"] == "agent"
    assert heard(call, "Press one.", GOODBYE)[-1] == GOODBYE
    events = (await world.server.http.get(f"/calls/{result['id']}/events")).json()["events"]
    assert "appointment.confirmed" in [event["kind"] for event in events]


async def test_what_the_request_says_reaches_geminis_setup(world: World) -> None:
    call = await world.dial(
        Person([WaitForAgent("start"), HangUp()]),
        system_prompt="Be brief with $name.",
        voice="Kore",
        language="en-GB",
        metadata={"name": "Ms Lee"},
        vad_config={
            "start_sensitivity": "LOW",
            "end_sensitivity": "HIGH",
            "prefix_padding_ms": 40,
            "silence_duration_ms": 300,
        },
    )
    await world.result(call)
    setup = world.gemini.sessions[0].setup
    assert setup["systemInstruction"]["parts"][0]["text"] == "Be brief with Ms Lee."
    speech = setup["generationConfig"]["speechConfig"]
    assert speech["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Kore"
    assert speech["languageCode"] == "en-GB"
    assert setup["realtimeInputConfig"]["automaticActivityDetection"] == {
        "startOfSpeechSensitivity": "START_SENSITIVITY_LOW",
        "endOfSpeechSensitivity": "END_SENSITIVITY_HIGH",
        "prefixPaddingMs": 40,
        "silenceDurationMs": 300,
    }


async def test_time_is_up_and_the_agent_says_goodbye(world: World) -> None:
    world.gemini.script = Script.parse(
        {"rules": [{"text_contains": "time for this call is up", "say": GOODBYE}]}
    )
    call = await world.dial(Person(), max_duration_seconds=4)
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "limit")
    assert heard(call, GREETING, GOODBYE) == [GREETING, GOODBYE]


async def test_a_refused_first_connect_is_not_heard(world: World) -> None:
    world.gemini.faults.append(ConnectFault(http_status=503, connects=frozenset({1, 2})))
    call = await world.dial(Person([WaitForAgent(), HangUp()]))
    result = await world.result(call)
    assert turns(result) == [("agent", GREETING, False)]
    line = 'voice_ai_model_connects_total{outcome="refused_503"}'
    assert await world.server.metric(line) == 2


async def test_a_model_that_stays_away_is_apologised_for(world: World) -> None:
    world.gemini.faults.append(ConnectFault(close=1008))
    call = await world.dial(Person())
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "no_model")
    assert APOLOGY in heard(call, APOLOGY, GREETING)
    assert turns(result) == []


async def test_a_session_that_drops_is_resumed_and_remembers(world: World) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        first = world.gemini.sessions[0]
        await first.drop(1011)
        await phone.pause(0.5)
        await phone.say(OPENING)
        await phone.listen_until_silence()
        phone.hang_up()

    call = await world.dial(person)
    result = await world.result(call)
    assert [text for who, text, _ in turns(result) if who == "agent"] == [GREETING, AT_NINE]
    assert len(world.gemini.sessions) == 2
    assert world.gemini.sessions[1].setup["sessionResumption"]["handle"]
    assert await world.server.metric('voice_ai_model_drops_total{reason="closed_1011"}') == 1


async def test_nobody_answers_a_busy_phone(world: World) -> None:
    result = await world.result(await world.dial(Busy()))
    assert (result["status"], result["turns"]) == ("busy", [])
    # What was prepared while it rang was given back.
    await world.gemini.until(lambda: not any(s.is_open for s in world.gemini.sessions))
    assert await world.server.metric("voice_ai_calls_talking") == 0


async def test_a_deleted_call_leaves_nothing(world: World) -> None:
    call = await world.dial(Person([WaitForAgent(), HangUp()]))
    result = await world.result(call)
    http = world.server.http
    assert (await http.delete(f"/calls/{result['id']}")).status_code == 204
    for path in ("", "/transcript", "/events", "/result"):
        assert (await http.get(f"/calls/{result['id']}{path}")).status_code == 404


async def test_calls_at_once_do_not_hear_each_other(world: World) -> None:
    greetings = {f"+1555010020{n}": greeting for n, greeting in enumerate(GREETINGS)}

    async def place(number: str, greeting: str) -> list[str | None]:
        world.twilio.people[number] = Answer(Person([WaitForAgent(), HangUp()]))
        await world.server.place(phone_number=number, greeting=greeting)
        call = await world.twilio.call_placed(to=number)
        await call.ended()
        return heard(call, *greetings.values())

    all_heard = await asyncio.gather(*(place(*item) for item in greetings.items()))
    assert all_heard == [[greeting] for greeting in greetings.values()]


GREETINGS = [
    "Good morning, this is the bakery.",
    "Welcome to the public library.",
    "You have reached the railway station.",
    "This is the town hall speaking.",
    "Hello from the garden centre.",
    "Thank you for calling the hospital.",
]
