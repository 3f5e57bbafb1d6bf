"""A stream that comes to another instance than the one that prepared its call is passed on to it."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from agent.clock import loop_clock
from server.demo.load_balancer import LoadBalancer
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Answer, HangUp, NoAnswer, Person, TwilioEmulator, WaitForAgent
from server.relay.relay import MEDIA, STREAM_SID_HEADER
from server.relay.signatures import HEADER, RelaySignatures
from tests.e2e.conftest import GREETING, heard, turns
from tests.server.conftest import Running, ServerFactory, redis_url
from tests.server.own_process import own_process
from tests.server.process_template import ForkedProcess, ProcessTemplate
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    closed_with,
    say,
    socket,
    start_of,
    token_for,
)

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time

SECRET = "shared by all instances"
RELAYED = 'voice_ai_relays_total{outcome="relayed"}'
OPEN = "voice_ai_relayed_streams"
PREPARED = "voice_ai_warm_sessions"


@dataclass
class Two:
    """`home` dials and prepares; every stream and webhook of Twilio's comes to `other`."""

    home: Running
    other: Running


@pytest.fixture
async def two(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, redis_url: str
) -> AsyncIterator[Two]:
    shared: dict[str, Any] = {"redis_url": redis_url, "stream_token_secret": SECRET}
    async with (
        start_server(**shared, in_fleet=True) as other,
        start_server(**shared, in_fleet=True, base_url=other.url) as home,
    ):
        yield Two(home, other)


async def test_the_first_word_comes_from_the_session_that_was_prepared_elsewhere(
    two: Two, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.anyone = Answer(Person([WaitForAgent(), HangUp()]), ring_secs=1.0)
    await two.home.place(greeting=GREETING)
    call = await twilio.call_placed()
    await call.happened("media.first_in")
    assert await two.other.metric(RELAYED) == await two.other.metric(OPEN) == 1
    assert (await two.home.metric(PIPELINES), await two.other.metric(PIPELINES)) == (1, 0)
    await call.settled()
    assert heard(call, GREETING) == [GREETING]
    assert gemini.connects == len(gemini.sessions) == 1
    (known,) = (await two.other.http.get("/calls")).json()["calls"]
    answer = await two.other.http.get(f"/calls/{known['id']}/result", params={"wait": 10})
    assert turns(answer.json()) == [("agent", GREETING, False)]
    await two.other.until_metric(OPEN, 0)


async def test_what_is_passed_on_is_what_a_stream_without_a_relay_gets(
    two: Two, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    sent = []
    for server in (two.home, two.other):
        call = await two.home.place(greeting=GREETING)
        while await two.home.metric(PREPARED) != 1:  # noqa: ASYNC110 (its own loop tells nobody)
            await asyncio.sleep(0.01)
        # The signature is of the address that Twilio was given, which is `other`'s.
        reached = Running(server.url, server.http, server.signer)
        async with stream_to(reached, two.other, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, await token_for(two.other, call)))
            sent.append(await until_mark(stream))
        await two.home.http.post(f"/calls/{call['id']}/terminate")
        await two.home.until_metric(PIPELINES, 0)
    direct, relayed = sent
    assert len(direct) > 10
    assert relayed == direct
    assert await two.other.metric(RELAYED) == 1


@contextlib.asynccontextmanager
async def stream_to(
    server: Running, addressed: Running, call_id: str
) -> AsyncIterator[ClientConnection]:
    """A stream that Twilio was told to open to `addressed`, and that comes to `server`."""
    path = f"/twilio/media/{call_id}"
    headers = {"X-Twilio-Signature": addressed.sign(f"ws{addressed.url[4:]}{path}")}
    url = f"ws{server.url[4:]}{path}"
    async with connect(url, additional_headers=headers, proxy=None) as stream:
        yield stream


async def until_mark(stream: ClientConnection) -> list[str]:
    messages: list[str] = []
    async for text in stream:
        messages.append(str(text))
        if json.loads(text)["event"] == "mark":
            break
    return messages
