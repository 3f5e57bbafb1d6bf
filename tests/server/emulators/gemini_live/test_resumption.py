"""Connections end, conversations go on."""

import pytest
from google.genai import errors, types

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from tests.server.emulators.gemini_live.caller import Caller, calling

SCRIPT = Script.parse(
    {
        "rules": [
            {"text_contains": "next", "say": "One.", "times": 1},
            {"text_contains": "next", "say": "Two.", "times": 1},
            {"text_contains": "next", "say": "Three."},
        ]
    }
)
WANTED = {"session_resumption": types.SessionResumptionConfig()}


def with_handle(handle: str) -> dict[str, types.SessionResumptionConfig]:
    return {"session_resumption": types.SessionResumptionConfig(handle=handle)}


async def take_turn(caller: Caller) -> None:
    turns, handles = caller.turns, len(caller.handles)
    await caller.ask("Next!")
    await caller.until(lambda c: c.turns > turns and len(c.handles) > handles)


async def test_a_handle_brings_the_conversation_back() -> None:
    async with GeminiLiveEmulator(SCRIPT, pace=0) as emulator:
        async with calling(emulator, **WANTED) as caller:
            await take_turn(caller)
            handle = caller.handles[-1]
        async with calling(emulator, **with_handle(handle)) as again:
            await take_turn(again)
            assert again.said == "Two."
        first, second = emulator.sessions
        assert second.conversation.context.total > first.conversation.context.total
        assert [text for _, text in second.conversation.history] == [
            *("Next!", "One."),
            *("Next!", "Two."),
        ]


async def test_an_older_handle_brings_back_what_was_then() -> None:
    async with GeminiLiveEmulator(SCRIPT, pace=0) as emulator:
        async with calling(emulator, **WANTED) as caller:
            await caller.until(lambda c: c.handles)
            await take_turn(caller)
            oldest = caller.handles[0]
        async with calling(emulator, **with_handle(oldest)) as again:
            await take_turn(again)
            assert again.said == "One."


async def test_a_session_cannot_be_resumed_while_it_generates() -> None:
    async with GeminiLiveEmulator(SCRIPT) as emulator, calling(emulator, **WANTED) as caller:
        await take_turn(caller)
        updates = [
            m.session_resumption_update.resumable
            for m in caller.messages
            if m.session_resumption_update
        ]
        assert [bool(resumable) for resumable in updates] == [True, False, True]
        assert len(set(caller.handles)) == 2


async def test_nobody_is_told_a_handle_without_asking() -> None:
    async with GeminiLiveEmulator(SCRIPT, pace=0) as emulator, calling(emulator) as caller:
        await caller.ask("Next!")
        await caller.until(lambda c: c.turns)
        assert caller.handles == []


async def test_an_unknown_handle_is_refused() -> None:
    async with GeminiLiveEmulator(SCRIPT) as emulator:
        with pytest.raises(errors.APIError) as refused:
            async with calling(emulator, **with_handle("made-up")):
                pass
        assert refused.value.code == 1007


async def test_a_resume_while_the_old_connection_is_open() -> None:
    async with (
        GeminiLiveEmulator(SCRIPT, pace=0, resume_while_open="refuse") as emulator,
        calling(emulator, **WANTED) as caller,
    ):
        await caller.until(lambda c: c.handles)
        with pytest.raises(errors.APIError) as refused:
            async with calling(emulator, **with_handle(caller.handles[-1])):
                pass
        assert refused.value.code == 1011
        emulator.behaviour.resume_while_open = "accept"
        async with calling(emulator, **with_handle(caller.handles[-1])) as again:
            await take_turn(again)
            assert again.said == "One."


async def test_go_away_announces_the_end() -> None:
    async with GeminiLiveEmulator(SCRIPT) as emulator, calling(emulator) as caller:
        session = await emulator.session()
        await session.go_away(0.2)
        await caller.until(lambda c: any(m.go_away for m in c.messages))
        [left] = [m.go_away.time_left for m in caller.messages if m.go_away]
        assert left == "0.2s"
        assert session.is_open
        await caller.until(lambda c: c.closed)
        assert caller.closed == 1011


async def test_a_connection_lives_only_so_long() -> None:
    async with (
        GeminiLiveEmulator(SCRIPT, connection_life_secs=0.1, go_away_secs=0.1) as emulator,
        calling(emulator) as caller,
    ):
        await caller.until(lambda c: c.closed)
        kinds = (await emulator.session()).log.kinds()
        assert kinds == ["setup", "setupComplete", "goAway", "closed"]


async def test_a_goodbye_from_the_client_is_noted() -> None:
    async with GeminiLiveEmulator(SCRIPT) as emulator:
        async with calling(emulator):
            session = await emulator.session()
        await session.until(lambda s: not s.is_open)
        assert session.log.closed is not None
        assert (session.log.closed.code, session.log.closed.by) == (1000, "client")
