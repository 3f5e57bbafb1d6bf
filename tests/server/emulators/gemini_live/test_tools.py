"""Function calls and their answers."""

from typing import Any

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.gemini_live.model import ScriptFailure
from tests.server.emulators.gemini_live.caller import calling

ASKED = "Book a table for two."


def declared(behavior: str | None = None) -> dict[str, Any]:
    declaration: dict[str, Any] = {
        "name": "book_table",
        "parameters": {"type": "OBJECT", "properties": {"people": {"type": "INTEGER"}}},
    }
    if behavior is not None:
        declaration["behavior"] = behavior
    return {"tools": [{"function_declarations": [declaration]}]}


async def test_a_blocking_call_holds_the_answer_back(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator, **declared("BLOCKING")) as caller:
        await caller.say(ASKED)
        await caller.until(lambda c: c.calls)
        [call] = caller.calls
        assert (call.name, call.args) == ("book_table", {"people": 2})
        assert (caller.said, caller.turns) == ("", 0)
        await caller.answer(call, {"result": {"status": "ok", "time": "eight"}})
        await caller.until(lambda c: c.turns)
        assert caller.said == "Your table is booked for eight.Anything else?"
        assert caller.turns == 1


@pytest.mark.parametrize("behavior", [None, "NON_BLOCKING"])
async def test_a_call_does_not_block_by_default(
    emulator: GeminiLiveEmulator, behavior: str | None
) -> None:
    async with calling(emulator, **declared(behavior)) as caller:
        await caller.say(ASKED)
        await caller.until(lambda c: c.turns == 1)
        assert caller.said == "Anything else?"
        await caller.answer(caller.calls[0], {"status": "full"})
        await caller.until(lambda c: c.turns == 2)
        assert caller.said == "Anything else?We have no table left."


async def test_a_silent_answer_is_only_learnt(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator, **declared()) as caller:
        await caller.say(ASKED)
        await caller.until(lambda c: c.turns == 1)
        await caller.answer(caller.calls[0], {"status": "ok", "scheduling": "SILENT"})
        await caller.ask("She pressed 1.")
        await caller.until(lambda c: "pressed" in c.said)
        assert "booked" not in caller.said


async def test_an_answer_can_interrupt(emulator: GeminiLiveEmulator) -> None:
    emulator.behaviour.pace = 1
    async with calling(emulator, **declared()) as caller:
        await caller.say(ASKED)
        await caller.until(lambda c: c.audio)
        answer = {"status": "ok", "time": "six", "scheduling": "INTERRUPT"}
        await caller.answer(caller.calls[0], answer)
        await caller.until(lambda c: c.turns == 2)
        assert caller.interruptions == 1
        assert caller.said.endswith("Your table is booked for six.")


async def test_an_interruption_cancels_a_call_that_blocks(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator, **declared("BLOCKING")) as caller:
        await caller.say(ASKED)
        await caller.until(lambda c: c.calls)
        await caller.say("Stop, please.")
        await caller.until(lambda c: c.turns == 2)
        [cancelled] = [
            m.tool_call_cancellation for m in caller.messages if m.tool_call_cancellation
        ]
        assert cancelled.ids == [caller.calls[0].id]
        assert caller.said == "I have stopped."


async def test_calls_of_one_message_are_answered_together() -> None:
    script = Script.parse(
        {
            "rules": [
                {"text_contains": "both", "call": [{"name": "first"}, {"name": "second"}]},
                {"tool_result": "first", "say": "One."},
                {"tool_result": "second", "say": "Two."},
            ]
        }
    )
    tools = [{"function_declarations": [{"name": n} for n in ("first", "second")]}]
    async with (
        GeminiLiveEmulator(script, pace=0) as emulator,
        calling(emulator, tools=tools) as caller,
    ):
        await caller.ask("Both!")
        await caller.until(lambda c: len(c.calls) == 2)
        assert len([m for m in caller.messages if m.tool_call]) == 1
        for call in reversed(caller.calls):
            await caller.answer(call, {})
        await caller.until(lambda c: c.turns == 3)
        assert caller.said == "Two.One."


async def test_an_undeclared_function_is_the_scripts_error() -> None:
    script = Script.parse({"rules": [{"text_contains": "go", "call": "no_such_function"}]})
    async with GeminiLiveEmulator(script) as emulator, calling(emulator) as caller:
        await caller.ask("Go!")
        await caller.until(lambda c: c.closed)
        assert caller.closed == 1011
        [error] = emulator.errors
        assert isinstance(error, ScriptFailure)
        assert "no_such_function" in str(error)


async def test_an_optional_undeclared_function_is_left_out() -> None:
    call = {"name": "no_such_function", "optional": True}
    script = Script.parse({"rules": [{"text_contains": "go", "say": "Gone.", "call": call}]})
    async with GeminiLiveEmulator(script, pace=0) as emulator, calling(emulator) as caller:
        await caller.ask("Go!")
        await caller.until(lambda c: c.turns)
        assert caller.calls == []
        assert emulator.errors == []


async def test_an_answer_that_nobody_asked_for_is_an_error() -> None:
    async with GeminiLiveEmulator(Script()) as emulator, calling(emulator, **declared()) as caller:
        call = type("Call", (), {"id": "made-up", "name": "book_table"})()
        await caller.answer(call, {})
        session = await emulator.session()
        await session.until(lambda s: s.log.tool_responses)
        await emulator.until(lambda: emulator.errors)
        assert "made-up" in str(emulator.errors[0])
        assert session.is_open
