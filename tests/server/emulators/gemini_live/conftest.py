"""An emulator with a short script, ready to be called."""

from collections.abc import AsyncIterator

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator, Script

SCRIPT = Script.parse(
    {
        "not_understood": "Could you say that again?",
        "rules": [
            {"hears": "What are your opening hours?", "say": "We are open from nine to five."},
            {
                "hears": "Tell me a long story.",
                "say": "Once upon a time there was a mill by a river, and in it lived an old "
                "miller with three sons and one very clever cat.",
            },
            {"hears": "Stop, please.", "say": "I have stopped."},
            {
                "hears": "Book a table for two.",
                "do": [
                    {"call": {"name": "book_table", "args": {"people": 2}}},
                    {"say": "Anything else?"},
                ],
            },
            {
                "tool_result": "book_table",
                "where": {"status": "ok"},
                "say": "Your table is booked for {time}.",
            },
            {"tool_result": "book_table", "say": "We have no table left."},
            {"text_matches": r"pressed (\d)", "say": r"You pressed \1."},
        ],
    }
)


@pytest.fixture
async def emulator() -> AsyncIterator[GeminiLiveEmulator]:
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.01, pace=20) as emulator:
        yield emulator
        assert emulator.errors == []
