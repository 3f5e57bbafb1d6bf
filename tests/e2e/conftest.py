"""The whole system on loopback: the real server, both emulators, real sockets, real speech.

Played in virtual time, in which nothing is late but what a test makes late; tests marked
`real_time` last as long as their calls.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.emulators.ears import Ears
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import EmulatedCall, TwilioEmulator
from server.emulators.twilio.emulator import Somebody
from server.emulators.twilio.mulaw import RATE
from server.replay.sqlite_work import ordered_sqlite
from tests.server.conftest import (
    OUR_NUMBER,
    THEIRS,
    Running,
    ServerFactory,
    own_environment,
    start_server,
    twilio,
)
from tests.virtual_time import loop_of_the_test as pytest_asyncio_loop_factories

__all__ = ["own_environment", "pytest_asyncio_loop_factories", "start_server", "twilio"]

OPENING = "When do you open?"
AT_NINE = "We open at nine in the morning."
THANKS = "Thank you, goodbye."
GOODBYE = "Goodbye, and thank you for calling."
GREETING = "Hello, this is the test."
APOLOGY = "I am sorry, something went wrong on our side. Please call again later. Goodbye."

SCRIPT = Script.parse(
    {
        "rules": [
            {"hears": OPENING, "say": AT_NINE},
            {"hears": THANKS, "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}]},
        ]
    }
)


@dataclass
class World:
    """The server, the two vendors, and what a test does with them."""

    server: Running
    gemini: GeminiLiveEmulator
    twilio: TwilioEmulator

    async def dial(self, person: Somebody, **body: Any) -> EmulatedCall:
        """Have the server call a person."""
        self.twilio.people[THEIRS] = person
        await self.server.place(**{"greeting": GREETING, **body})
        return await self.twilio.call_placed(number=len(self.twilio.calls))

    async def call_in(self, person: Any) -> EmulatedCall:
        """Have a person call the server."""
        url = f"{self.server.url}/twilio/inbound"
        return await self.twilio.call_in(THEIRS, OUR_NUMBER, url, person)

    async def result(self, call: EmulatedCall) -> dict[str, Any]:
        """What the API says of a call once it is over and its callbacks are delivered."""
        await call.settled()
        calls = (await self.server.http.get("/calls")).json()["calls"]
        (call_id,) = [known["id"] for known in calls if known["twilio_sid"] == call.sid]
        answer = await self.server.http.get(f"/calls/{call_id}/result", params={"wait": 10})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def turns(result: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Who said what, and whether it was interrupted."""
    return [(turn["who"], turn["text"], turn["interrupted"]) for turn in result["turns"]]


def heard(call: EmulatedCall, *sentences: str) -> list[str | None]:
    """Which of the sentences each stretch of the agent's speech was, as a recogniser hears it."""
    ears = Ears(sentences)
    pcm = call.record.agent_audio

    def recognise(start_secs: float, end_secs: float) -> str | None:
        # Words begin and end more softly than a detector hears; how much so, a recogniser feels.
        for margin in (0.15, 0.05, 0.3):
            start, end = (
                max(0, round((start_secs - margin) * RATE)),
                round((end_secs + margin) * RATE),
            )
            if (sentence := ears.hear(pcm[2 * start : 2 * end], RATE)) is not None:
                return sentence
        return None

    return [
        recognise(span.start_secs, span.end_secs)
        for span in call.record.agent_speech(pause_secs=0.8)
    ]


@pytest.fixture(autouse=True)
def one_statement_at_a_time() -> Iterator[None]:
    """SQLite's threads keep to virtual time, too."""
    with ordered_sqlite():
        yield


@pytest.fixture
async def gemini(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveEmulator]:
    """Gemini on loopback, for every server that is started; the script may be replaced."""
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.2) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator
    assert emulator.errors == []


@pytest.fixture
async def world(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> AsyncIterator[World]:
    """Everything runs."""
    async with start_server() as server:
        yield World(server, gemini, twilio)
