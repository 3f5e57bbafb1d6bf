"""A call moves while it goes on: the next instance knows what was said, and the caller no gap."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner

import server.calls.call_handover as handover_module
import server.relay.call_moves as moves_module
import server.relay.relay as relay_module
from server.cli.main import app
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import EmulatedCall, Handset, NoAnswer, TwilioEmulator
from tests.e2e.conftest import AT_NINE, GOODBYE, GREETING, OPENING, THANKS, turns
from tests.e2e.test_killed_instances import SCRIPT
from tests.e2e.test_relay import RELAYED, SECRET, Two
from tests.server.conftest import Running, ServerFactory, redis_url
from tests.server.routes.test_twilio_media import PIPELINES

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time

TAKEN_OVER = 'voice_ai_calls_taken_over_total{how="quiet"}'
WHOLE = [
    ("agent", GREETING, False),
    ("caller", OPENING, False),
    ("agent", AT_NINE, False),
    ("caller", THANKS, False),
    ("agent", GOODBYE, False),
]


@pytest.fixture
async def two(
    start_server: ServerFactory,
    gemini: GeminiLiveEmulator,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Two]:
    gemini.script = SCRIPT
    # A machine that is busy changes nothing of where a call goes.
    monkeypatch.setattr(relay_module, "ACCEPTED_WITHIN_SECS", 20.0)
    monkeypatch.setattr(relay_module, "REQUEST_TIMEOUT_SECS", 20.0)
    monkeypatch.setattr(moves_module, "FOUND_WITHIN_SECS", 20.0)
    monkeypatch.setattr(handover_module, "RECALLED_WITHIN_SECS", 20.0)
    shared: dict[str, Any] = {
        "redis_url": redis_url,
        "stream_token_secret": SECRET,
        "answer_filler": False,
    }
    async with (
        start_server(**shared, in_fleet=True) as other,
        start_server(**shared, in_fleet=True, base_url=other.url) as home,
    ):
        yield Two(home, other, redis_url)


def moves(reason: str, outcome: str) -> str:
    return f'voice_ai_moves_total{{outcome="{outcome}",reason="{reason}"}}'


async def until_listed(server: Running, call_id: str) -> None:
    """Wait until the instances know each other: they report every two seconds."""
    # Nobody could be asked before.
    while True:
        answer = await server.http.post(f"/calls/{call_id}/move", json={"instance": "nowhere"})
        if "of this name" in answer.json()["detail"]:
            return
        await asyncio.sleep(0.02)


async def result_of(server: Running, call: EmulatedCall) -> dict[str, Any]:
    await call.settled()
    (known,) = (await server.http.get("/calls")).json()["calls"]
    answer = await server.http.get(f"/calls/{known['id']}/result", params={"wait": 10})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_call_that_is_moved_goes_on_as_if_nothing_had_happened(
    two: Two, twilio: TwilioEmulator
) -> None:
    """It is moved in the middle of a sentence, which is heard to its end before."""

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await phone.say(OPENING)
        await phone.hears_speech()
        assert await two.home.metric(PIPELINES) == 1
        # The instance that is asked passes it on.
        answer = await two.other.http.post(f"/calls/{placed['id']}/move")
        assert (answer.status_code, answer.json()) == (202, {"instance": None})
        await phone.listen_until_silence()
        (this,) = twilio.calls
        await twilio.until(lambda: len(this.record.all("stream.started")) == 2)
        await two.other.until_metric(PIPELINES, 1)
        await two.home.until_metric(PIPELINES, 0)
        await phone.say(THANKS)
        await phone.until_hung_up()

    twilio.anyone = person
    placed = await two.home.place(greeting=GREETING)
    call = await twilio.call_placed()
    result = await result_of(two.other, call)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert turns(result) == WHOLE
    assert await two.other.metric(RELAYED) == 1
    assert await two.home.metric(moves("asked", "moved")) == 1
    assert await two.other.metric(TAKEN_OVER) == 1


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.long
async def test_a_stream_that_comes_back_is_passed_on_to_the_next_instance(
    two: Two, twilio: TwilioEmulator, named: bool
) -> None:
    """All streams come to `other`, which had the call, and has let go of it."""

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await until_listed(two.other, placed["id"])
        to = two.home_name if named else None
        answer = await two.other.http.post(f"/calls/{placed['id']}/move", json={"instance": to})
        assert (answer.status_code, answer.json()) == (202, {"instance": to})
        await two.home.until_metric(PIPELINES, 1)
        await two.other.until_metric(PIPELINES, 0)
        await phone.say(OPENING)
        await phone.listen_until_silence()
        await phone.say(THANKS)
        await phone.until_hung_up()

    twilio.anyone = person
    placed = await two.other.place(greeting=GREETING)
    call = await twilio.call_placed()
    assert turns(await result_of(two.home, call)) == WHOLE
    assert len(call.record.all("stream.started")) == 2
    assert await two.other.metric(RELAYED) == 1


async def test_what_was_changed_of_a_call_moves_with_it(
    two: Two, twilio: TwilioEmulator, gemini: GeminiLiveEmulator
) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        path = f"/calls/{placed['id']}"
        change = {"system_prompt": "Be brief.", "voice": "Kore", "tools": ["hang_up"]}
        while (await two.home.http.patch(path, json=change)).status_code == 409:
            pass
        await gemini.session(1)
        await until_listed(two.home, placed["id"])
        assert (await two.home.http.post(f"{path}/move")).status_code == 202
        await two.other.until_metric(PIPELINES, 1)
        await gemini.session(2)
        phone.hang_up()

    twilio.anyone = person
    placed = await two.home.place(greeting=GREETING)
    await (await twilio.call_placed()).settled()
    changed, moved = gemini.sessions[1].setup, gemini.sessions[2].setup
    assert moved["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    for part in ("systemInstruction", "generationConfig", "tools"):
        assert moved[part] == changed[part]


async def test_a_call_that_cannot_move_says_why(
    two: Two, twilio: TwilioEmulator, start_server: ServerFactory
) -> None:
    twilio.anyone = NoAnswer()
    call = await two.home.place(greeting=GREETING)
    path = f"/calls/{call['id']}/move"
    rings = await two.home.http.post(path)
    assert (rings.status_code, rings.json()["detail"]) == (409, "The call is not in progress.")
    unknown = await two.home.http.post(f"/calls/{'0' * 32}/move")
    assert unknown.status_code == 404
    async with start_server(base_url=two.other.url) as alone:
        assert (await alone.http.post(path)).status_code == 409


async def test_only_another_instance_that_is_ready_is_taken(
    two: Two, twilio: TwilioEmulator
) -> None:
    asked: list[tuple[int, str]] = []
    refused: list[float] = []

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await until_listed(two.home, placed["id"])
        before = await two.home.metric(moves("asked", "refused"))
        for name in (two.home_name, "nowhere"):
            body = {"instance": name}
            answer = await two.home.http.post(f"/calls/{placed['id']}/move", json=body)
            asked.append((answer.status_code, answer.json()["detail"]))
        refused.append(await two.home.metric(moves("asked", "refused")) - before)
        phone.hang_up()

    twilio.anyone = person
    placed = await two.home.place(greeting=GREETING)
    call = await twilio.call_placed()
    await call.settled()
    assert asked == [
        (409, "The call is on this instance already."),
        (409, "No instance of this name is ready."),
    ]
    assert len(call.record.all("stream.started")) == 1
    assert refused == [2]


async def test_the_command_moves_a_call(
    two: Two, twilio: TwilioEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await until_listed(two.other, placed["id"])
        options = ["--server", two.other.url, "--api-key", "any", "--to", two.home_name]
        command = ["calls", "move", placed["id"][:8], *options]
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        printed.append(done.output)
        await two.home.until_metric(PIPELINES, 1)
        phone.hang_up()

    twilio.anyone = person
    placed = await two.other.place(greeting=GREETING)
    await (await twilio.call_placed()).settled()
    assert printed == [f"{placed['id']} goes to {two.home_name}\n"]
