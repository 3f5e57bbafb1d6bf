"""The media WebSocket through the real app: who is let in, what is put up with, and how it ends.

Gemini's address is a closed port here: a pipeline runs, and finds no model.
"""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from loguru import logger
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.emulators.twilio import Answer, NoAnswer, TwilioEmulator
from server.routes import media_stream, twilio_media
from server.routes.media_stream import FLOOD_MESSAGES, FLOOD_WINDOW_SECS, MessageLimits, Refused
from tests.server.conftest import THEIRS, Running

CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
SILENCE = {"event": "media", "media": {"payload": base64.b64encode(b"\xff" * 160).decode()}}


@pytest.fixture(autouse=True)
def let_it_ring(twilio: TwilioEmulator) -> None:
    twilio.anyone = NoAnswer()


def start_of(call: dict[str, Any], token: str, sid: str = "MZ1", **changes: Any) -> dict[str, Any]:
    return {
        "event": "start",
        "streamSid": sid,
        "start": {
            "streamSid": sid,
            "accountSid": "AC0",
            "callSid": call["twilio_sid"],
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token},
        }
        | changes,
    }


async def token_for(server: Running, call: dict[str, Any]) -> str:
    return (await server.twiml(call))[0][0][0].attrib["value"]


@contextlib.asynccontextmanager
async def socket(server: Running, call_id: str) -> AsyncIterator[ClientConnection]:
    url = f"ws{server.url.removeprefix('http')}/twilio/media/{call_id}"
    headers = {"X-Twilio-Signature": server.sign(url)}
    async with connect(url, additional_headers=headers, proxy=None) as websocket:
        yield websocket


async def say(websocket: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await websocket.send(json.dumps(message))


async def closed_with(websocket: ClientConnection) -> int:
    """Wait until the server closes, and with which code."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in websocket:
            pass
    assert websocket.close_code is not None
    return websocket.close_code


async def kinds(server: Running, call: dict[str, Any]) -> list[str]:
    events = (await server.http.get(f"/calls/{call['id']}/events")).json()["events"]
    return [event["kind"] for event in events]


PIPELINES = "voice_ai_running_pipelines"


@pytest.mark.parametrize("signature", [None, "x" * 28, "of http", "of another call"])
async def test_an_upgrade_that_twilio_did_not_sign_is_refused_before_it(
    server: Running, signature: str | None
) -> None:
    call = await server.place()
    path = f"/twilio/media/{call['id']}"
    url = f"ws{server.url.removeprefix('http')}{path}"
    signatures = {
        "of http": server.sign(server.url + path),
        "of another call": server.sign(url[:-1]),
    }
    headers = {"X-Twilio-Signature": signatures.get(signature, signature)} if signature else {}
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url, additional_headers=headers, proxy=None):
            pass
    assert refusal.value.response.status_code == 403
    assert json.loads(refusal.value.response.body)["detail"]


async def test_a_refused_upgrade_is_one_warning_and_no_error(server: Running) -> None:
    logged: list[dict[str, Any]] = []
    sink = logger.add(lambda line: logged.append(dict(line.record["extra"])), level="WARNING")
    errors: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = errors.append  # type: ignore[method-assign]
    logging.getLogger("uvicorn.websocket").addHandler(handler)
    url = f"ws{server.url.removeprefix('http')}/twilio/media/"
    try:
        for call_id in ("one", "two"):
            with pytest.raises(InvalidStatus):
                async with connect(url + call_id, proxy=None):
                    pass
        await server.twilio_posts("/twilio/inbound", {})  # the tasks of the upgrades are over
    finally:
        logger.remove(sink)
        logging.getLogger("uvicorn.websocket").removeHandler(handler)
    assert [(one["checked"], one["signature"]) for one in logged if "checked" in one] == [
        (url + "one", "missing")
    ]
    assert errors == []


async def test_a_stream_is_bound_to_the_line_and_ends_with_stop(server: Running) -> None:
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token), SILENCE)
        await server.until_metric(PIPELINES, 1)
        await say(websocket, {"event": "stop", "stop": {}})
        assert await closed_with(websocket) == 1000
    seen = await kinds(server, call)
    while "life.stream_ended" not in seen:
        seen = await kinds(server, call)
    assert seen.index("life.stream_started") < seen.index("life.stream_ended")
    assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"


async def test_a_token_lets_one_stream_in(server: Running) -> None:
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as first:
        await say(first, CONNECTED, start_of(call, token))
        await server.until_metric(PIPELINES, 1)
        async with socket(server, call["id"]) as second:
            await say(second, CONNECTED, start_of(call, token, "MZ2"))
            assert await closed_with(second) == 1008
        await say(first, SILENCE)
        assert first.close_code is None
    assert await server.metric('voice_ai_rejected_requests_total{reason="stream_token_used"}') == 1


async def test_a_token_of_another_call_or_a_forged_one_lets_nobody_in(server: Running) -> None:
    call = await server.place()
    other = await server.place()
    for token in (await token_for(server, other), "", "x.1.y.z"):
        async with socket(server, call["id"]) as websocket:
            await say(websocket, CONNECTED, start_of(call, token))
            assert await closed_with(websocket) == 1008
    assert await server.metric(PIPELINES) == 0


async def test_the_call_sid_has_to_be_the_calls(server: Running) -> None:
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token, callSid="CA" + "9" * 32))
        assert await closed_with(websocket) == 1008
    assert await server.metric(PIPELINES) == 0


async def test_a_stream_that_closes_while_its_instance_is_looked_for_takes_no_call(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, found = asyncio.Event(), asyncio.Event()

    async def looks(*_: object) -> bool:
        looking.set()
        await found.wait()
        return False

    monkeypatch.setattr("server.routes.twilio_media._passed_on", looks)
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token))
        await looking.wait()
    found.set()
    monkeypatch.undo()
    # The next stream of the call is served behind it.
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token, "MZ2"))
        await server.until_metric(PIPELINES, 1)
        streams: list[str] = []
        while "MZ2" not in streams:
            said = (await server.http.get(f"/calls/{call['id']}/events")).json()["events"]
            started = [e for e in said if e["kind"] == "life.stream_started"]
            streams = [e["detail"]["stream_sid"] for e in started]
    assert streams == ["MZ2"]


async def test_a_call_that_is_over_gets_no_stream(server: Running) -> None:
    call = await server.place()
    token = await token_for(server, call)
    form = {"CallSid": call["twilio_sid"], "CallStatus": "completed"}
    await server.twilio_posts(f"/twilio/status/{call['id']}", form)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token))
        assert await closed_with(websocket) == 1008


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([CONNECTED, CONNECTED], 1008),
        ([SILENCE], 1008),
        ([{"event": "party"}], 1003),
        ([CONNECTED, {"event": "start", "start": {}}], 1003),
        ([CONNECTED, SILENCE], 1008),
    ],
)
async def test_a_stream_that_begins_otherwise_is_closed(
    server: Running, messages: list[dict[str, Any]], code: int
) -> None:
    call = await server.place()
    async with socket(server, call["id"]) as websocket:
        await say(websocket, *messages)
        assert await closed_with(websocket) == code


@pytest.mark.parametrize(("first", "code"), [(b"\x00binary", 1003), ("x" * 70_000, 1009)])
async def test_binary_and_oversized_messages_close_the_stream(
    server: Running, first: bytes | str, code: int
) -> None:
    call = await server.place()
    async with socket(server, call["id"]) as websocket:
        await websocket.send(first)
        assert await closed_with(websocket) == code


async def test_a_stream_that_does_not_begin_is_closed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_media, "HANDSHAKE_TIMEOUT_SECS", 0.1)
    call = await server.place()
    async with socket(server, call["id"]) as websocket:
        assert await closed_with(websocket) == 1008


async def test_some_bad_messages_are_put_up_with_and_many_are_not(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_stream, "BAD_MESSAGES", 5)
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token))
        for bad in ("{", "[]", '{"event":"media"}', '{"event":"media","media":{"payload":"!"}}'):
            await websocket.send(bad)
        await say(websocket, SILENCE)
        await server.until_metric(PIPELINES, 1)
        assert websocket.close_code is None
        await say(websocket, {"event": "party"}, {"event": "party"})
        assert await closed_with(websocket) == 1003
    assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"
    assert [verb.tag for verb in await server.twiml(call)] == ["Connect", "Redirect"]


def test_a_flood_is_far_more_than_a_telephone_sends() -> None:
    calm, flood = MessageLimits(window_from=0.0), MessageLimits(window_from=0.0)
    for n in range(50 * 60):
        calm.take(n / 50)
    for n in range(FLOOD_MESSAGES):
        flood.take(n * FLOOD_WINDOW_SECS / (FLOOD_MESSAGES + 2))
    with pytest.raises(Refused):
        flood.take(FLOOD_WINDOW_SECS * 0.99)


async def test_a_flood_closes_its_stream_and_not_the_call(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_stream, "FLOOD_MESSAGES", 20)
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as websocket:
        await say(websocket, CONNECTED, start_of(call, token))
        with contextlib.suppress(ConnectionClosed):
            await say(websocket, *[SILENCE] * 30)
        assert await closed_with(websocket) == 1008
    assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"


async def test_a_newer_stream_takes_the_line_over_and_the_older_one_is_closed(
    server: Running,
) -> None:
    call = await server.place()
    first_token, second_token = await token_for(server, call), await token_for(server, call)
    async with socket(server, call["id"]) as first, socket(server, call["id"]) as second:
        await say(first, CONNECTED, start_of(call, first_token))
        await server.until_metric(PIPELINES, 1)
        await say(second, CONNECTED, start_of(call, second_token, "MZ2"))
        assert await closed_with(first) == 1000
        await say(second, SILENCE)
        assert second.close_code is None
        assert await server.metric(PIPELINES) == 1


async def test_terminating_the_call_closes_its_stream_and_ends_its_pipeline(
    server: Running, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = Answer()
    call = await server.place()
    phone = await twilio.call_placed()
    await phone.happened("stream.started")
    await server.until_metric(PIPELINES, 1)
    assert (await server.http.post(f"/calls/{call['id']}/terminate")).status_code == 204
    assert await phone.ended() == "completed"
    result = (await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})).json()
    assert (result["status"], result["end_reason"]) == ("completed", "api")
    await server.until_metric(PIPELINES, 0)
    assert await server.metric("voice_ai_active_calls") == 0
