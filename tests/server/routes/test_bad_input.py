"""What senders must not do to us, beside a healthy call: each is told, counted, and alone.

Others of the kind are where what they are about is tested: `test_calls_api.py`,
`test_body_limit.py`, `test_signatures.py`, `test_twilio_webhooks.py`, `test_media_stream.py`,
`test_slow_reader.py`, `test_full_disk.py`.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.emulators.gemini_live import ConnectFault
from server.emulators.twilio import (
    Answer,
    Invalid,
    NoAnswer,
    Person,
    Refuse,
    Say,
    ServerError,
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
    gemini,
    turns,
    world,
)
from tests.server.conftest import Running
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    SILENCE,
    closed_with,
    kinds,
    say,
    socket,
    start_of,
    token_for,
)

__all__ = ["gemini", "world"]

VICTIM = "+15550100777"
JSON = {"Content-Type": "application/json"}
Attack = Callable[[World], Awaitable[None]]


def rejected(reason: str) -> str:
    return f'voice_ai_rejected_requests_total{{reason="{reason}"}}'


def media(payload: Any, **more: Any) -> dict[str, Any]:
    return {"event": "media", "media": {"payload": payload} | more}


def packet(length: int) -> dict[str, Any]:
    return media(base64.b64encode(b"\xff" * length).decode())


async def victim(server: Running) -> dict[str, Any]:
    """A call that has nothing to do with the healthy one."""
    return await server.place(phone_number=VICTIM)


async def refused(
    server: Running, call_id: str, *messages: dict[str, Any] | str, code: int, reason: str
) -> None:
    """These messages close their stream, with a reason that its sender sees, and are counted."""
    before = await server.metric(rejected(f"stream_{reason}"))
    async with socket(server, call_id) as stream:
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await stream.send(message if isinstance(message, str) else json.dumps(message))
        assert await closed_with(stream) == code
        assert stream.close_reason
    await server.until_metric(rejected(f"stream_{reason}"), before + 1)


async def counted(server: Running, reason: str, request: Awaitable[Any], status: int) -> None:
    """The request is refused with a sentence, and counted."""
    before = await server.metric(rejected(reason))
    answer = await request
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert await server.metric(rejected(reason)) == before + 1


async def unknown_calls(world: World) -> None:
    server, nobody = world.server, "0" * 32
    await counted(server, "unknown_call", server.http.get(f"/calls/{nobody}"), 404)
    form = {"CallSid": "CA" + "9" * 32, "CallStatus": "completed"}
    for path in (f"/twilio/status/{nobody}", f"/twilio/twiml/{nobody}", "/twilio/status"):
        await counted(server, "unknown_call", server.twilio_posts(path, form), 404)
    # The token is a good one, but for another call.
    call = await victim(server)
    start = start_of(call, await token_for(server, call))
    await refused(server, nobody, CONNECTED, start, code=1008, reason="token")


async def requests_that_make_no_sense(world: World) -> None:
    server = world.server
    bodies = [b"{", b'{"phone_number": 5}', b'{"phone_number": "015550100"}', b"[]"]
    bodies += [
        f'{{"phone_number": "{VICTIM}", "max_duration_seconds": {absurd}}}'.encode()
        for absurd in ("-1", "0", "1e400", "1000000000", "99999999999999999999", '"600"', "true")
    ]
    for body in bodies:
        request = server.http.post("/calls", content=body, headers=JSON)
        await counted(server, "invalid_request", request, 422)
    large = server.http.post("/calls", content=b" " * 70_000, headers=JSON)
    await counted(server, "body_too_large", large, 413)
    for form in ({"To": VICTIM}, {"CallSid": "a\x00b"}, {"CallSid": "x" * 65}):
        request = server.twilio_posts("/twilio/inbound", form)
        await counted(server, "invalid_request", request, 400)


async def wrong_signatures(world: World) -> None:
    server = world.server
    call = await victim(server)
    path = f"/twilio/status/{call['id']}"
    form = {"CallSid": call["twilio_sid"], "CallStatus": "completed"}
    headers = {"X-Twilio-Signature": "x" * 28}
    request = server.http.post(path, data=form, headers=headers)
    await counted(server, "webhook_signature", request, 403)
    before = await server.metric(rejected("stream_signature"))
    forger = Running(server.url, server.http, type(server.signer)("another token"))
    with pytest.raises(InvalidStatus):
        async with socket(forger, call["id"]):
            pass
    assert await server.metric(rejected("stream_signature")) == before + 1


async def streams_that_begin_wrong(world: World) -> None:
    server = world.server
    call = await victim(server)
    start = start_of(call, await token_for(server, call))
    numbers = start_of(call, await token_for(server, call), streamSid=7, callSid=7)
    odd = [media(7), packet(160), "null", "7", '"start"', '{"event":7}']
    for first in odd:
        reason, code = ("no_connected", 1008) if first == packet(160) else ("bad_start", 1003)
        await refused(server, call["id"], first, code=code, reason=reason)
    await refused(server, call["id"], CONNECTED, packet(160), code=1008, reason="no_start")
    await refused(server, call["id"], CONNECTED, CONNECTED, code=1008, reason="no_start")
    await refused(server, call["id"], CONNECTED, numbers, code=1003, reason="bad_start")
    other = start | {"start": start["start"] | {"callSid": "CA" + "9" * 32}}
    await refused(server, call["id"], CONNECTED, other, code=1008, reason="call_sid")
    # The token was used up by that, though it opened nothing.
    await refused(server, call["id"], CONNECTED, start, code=1008, reason="token_used")
    assert "stream.bad_message" not in await kinds(server, call)


async def a_stream_for_a_call_that_has_ended(world: World) -> None:
    server = world.server
    call = await victim(server)
    start = start_of(call, await token_for(server, call))
    form = {"CallSid": call["twilio_sid"], "CallStatus": "completed"}
    await server.twilio_posts(f"/twilio/status/{call['id']}", form)
    path = f"/calls/{call['id']}"
    record = [(await server.http.get(path + rest)).json() for rest in ("", "/events")]
    await refused(server, call["id"], CONNECTED, start, code=1008, reason="call_over")
    assert [(await server.http.get(path + rest)).json() for rest in ("", "/events")] == record


@contextlib.asynccontextmanager
async def live_stream(
    world: World,
) -> AsyncIterator[tuple[dict[str, Any], ClientConnection, dict[str, Any]]]:
    """A victim's call, the stream of its running pipeline, and how the stream began."""
    server = world.server
    call = await victim(server)
    start = start_of(call, await token_for(server, call))
    async with socket(server, call["id"]) as stream:
        await say(stream, CONNECTED, start)
        while "life.stream_started" not in await kinds(server, call):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield call, stream, start
    await server.http.post(f"/calls/{call['id']}/terminate")
    ended = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})
    assert ended.status_code == 200


async def a_second_stream_for_a_live_call(world: World) -> None:
    server = world.server
    async with live_stream(world) as (call, first, start):
        await refused(server, call["id"], CONNECTED, start, code=1008, reason="token_used")
        fresh = start_of(call, await token_for(server, call), "MZ3")
        async with socket(server, call["id"]) as second:
            await say(second, CONNECTED, fresh)
            # The newest stream is the telephone's: it takes the line over.
            assert await closed_with(first) == 1000
            await say(second, SILENCE)
            assert second.close_code is None


async def messages_that_make_no_sense(world: World) -> None:
    server = world.server
    odd = [
        *("{", "null", "[]", "7", '{"event":"start"}', '{"event":"media"}', '{"event":null}'),
        *(json.dumps(media(payload)) for payload in (7, None, ["/w=="], {}, "", "/w", "!", "ÿ")),
        json.dumps({"event": "mark", "mark": {"name": 7}}),
        json.dumps({"event": "dtmf", "dtmf": {"digit": 7}}),
        json.dumps({"event": "dtmf", "dtmf": {"digit": "77"}}),
        json.dumps(packet(8_001)),
    ]
    async with live_stream(world) as (call, stream, _):
        before = await server.metric("voice_ai_bad_messages_total")
        for message in odd:
            await stream.send(message)
        await server.until_metric("voice_ai_bad_messages_total", before + len(odd))
        # Odd lengths, and numbers as numbers or as text, are sound all the same.
        lengths = (1, 2, 3, 7, 159, 161, 319, 8_000)
        for n, length in enumerate(lengths):
            await say(stream, packet(length) | {"sequenceNumber": n, "streamSid": 7})
            await say(stream, media(packet(length)["media"]["payload"], timestamp=n, chunk=str(n)))
        await say(stream, {"event": "stop", "stop": {}})
        assert await closed_with(stream) == 1000
        assert await server.metric("voice_ai_bad_messages_total") == before + len(odd)
        assert (await kinds(server, call)).count("stream.bad_message") == 1
        assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"


async def too_many_messages_that_make_no_sense(world: World) -> None:
    async with live_stream(world) as (_, stream, _):
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                await stream.send("{")
        assert await closed_with(stream) == 1003
    await world.server.until_metric(rejected("stream_bad_messages"), 1)


async def a_megabyte_at_once(world: World) -> None:
    server = world.server
    before = await server.metric(rejected("stream_message_too_big"))
    async with live_stream(world) as (call, stream, _):
        with contextlib.suppress(ConnectionClosed):
            await stream.send("x" * 1_000_000)
        assert await closed_with(stream) == 1009
        await server.until_metric(rejected("stream_message_too_big"), before + 1)
        assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "in_progress"


async def ten_thousand_messages_a_second(world: World) -> None:
    server = world.server
    text = json.dumps(SILENCE)
    async with live_stream(world) as (call, stream, _):
        with contextlib.suppress(ConnectionClosed):
            for n in range(10_000):
                await stream.send(text)
                if n % 100 == 0:
                    # Whoever floods shares this loop with the server.
                    await asyncio.sleep(0)
        assert await closed_with(stream) == 1008
        assert "faster" in (stream.close_reason or "")
        await server.until_metric(rejected("stream_flood"), 1)
        assert [verb.tag for verb in await server.twiml(call)] == ["Connect", "Redirect"]


async def a_telephone_company_that_refuses_or_is_away(world: World) -> None:
    server, twilio = world.server, world.twilio
    failed = 'voice_ai_calls_total{direction="outbound",end_reason="system",status="failed"}'
    before = await server.metric(failed)
    twilio.people[VICTIM] = Invalid()
    call = await server.place(phone_number=VICTIM)
    assert (call["status"], "not valid" in call["error"]) == ("failed", True)
    twilio.people[VICTIM] = NoAnswer()
    twilio.fail_next(Refuse(20429, "Too many requests", 429))
    call = await server.place(phone_number=VICTIM)
    assert (call["status"], "Too many" in call["error"]) == ("failed", True)
    await server.until_metric(failed, before + 2)
    # What is not clear is looked up, and dialled once.
    placed = len(twilio.calls)
    twilio.fail_next(ServerError(placed=True))
    call = await server.place(phone_number=VICTIM)
    assert call["status"] in ("initiated", "ringing")
    assert len(twilio.calls) == placed + 1


async def a_model_that_refuses(world: World) -> None:
    server, gemini, twilio = world.server, world.gemini, world.twilio
    # All attempts from here on: those while it rings, and those once it is answered.
    before = gemini.connects
    refusals = frozenset(range(before + 1, before + 20))
    refuses = ConnectFault(close=1008, reason="no such model", connects=refusals)
    gemini.faults.append(refuses)
    twilio.people[VICTIM] = Answer()
    call = await server.place(phone_number=VICTIM)
    answer = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})
    result = answer.json()
    assert (result["status"], result["end_reason"]) == ("completed", "no_model")
    phone = next(known for known in twilio.calls if known.sid == call["twilio_sid"])
    assert [said.detail["text"] for said in phone.record.all("twilio.says")] == [APOLOGY]
    refused = await server.metric('voice_ai_model_connects_total{outcome="refused_1008"}')
    assert refused == gemini.connects - before == 1
    gemini.faults.remove(refuses)
    twilio.people[VICTIM] = NoAnswer()


ATTACKS: list[Attack] = [
    unknown_calls,
    requests_that_make_no_sense,
    wrong_signatures,
    streams_that_begin_wrong,
    a_stream_for_a_call_that_has_ended,
    a_second_stream_for_a_live_call,
    messages_that_make_no_sense,
    too_many_messages_that_make_no_sense,
    a_megabyte_at_once,
    ten_thousand_messages_a_second,
    a_telephone_company_that_refuses_or_is_away,
    a_model_that_refuses,
]


async def test_a_healthy_call_notices_nothing_of_all_this(world: World) -> None:
    world.twilio.anyone = NoAnswer()
    patient = Person([WaitForAgent(), Say(OPENING), WaitForAgent(), Say(THANKS)])
    healthy = await world.dial(patient)
    await healthy.happened("stream.started")
    for attack in ATTACKS:
        await attack(world)
    result = await world.result(healthy)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert turns(result) == [
        ("agent", GREETING, False),
        ("caller", OPENING, False),
        ("agent", AT_NINE, False),
        ("caller", THANKS, False),
        ("agent", GOODBYE, False),
    ]
    assert healthy.record.gaps == []
    assert healthy.record.errors == []
    events = (await world.server.http.get(f"/calls/{result['id']}/events")).json()["events"]
    assert not [event for event in events if event["kind"] == "stream.bad_message"]
    assert await world.server.metric(rejected("stream_failed")) == 0
