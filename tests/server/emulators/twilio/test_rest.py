import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import requests
from twilio.base.exceptions import TwilioRestException

from server.emulators.twilio import (
    Hang,
    Invalid,
    NoAnswer,
    Refuse,
    ServerError,
    Slow,
    TwilioEmulator,
)
from server.emulators.twilio.call import EmulatedCall
from tests.server.emulators.twilio.application import Application
from tests.server.emulators.twilio.conftest import form, sdk


async def test_the_sdk_places_reads_lists_and_ends_a_call(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.people["+15550100"] = NoAnswer()
    client = sdk(twilio)
    placed = await asyncio.to_thread(
        client.calls.create,
        to="+15550100",
        from_="+15550001",
        url=application.url("/twiml"),
        status_callback=application.url("/status"),
        status_callback_event=["initiated", "ringing", "answered", "completed"],
        timeout=30,
    )
    assert (placed.status, placed.direction, placed.to) == ("queued", "outbound-api", "+15550100")
    call = await twilio.call_placed()
    assert call.sid == placed.sid
    assert call.order.timeout_secs == 30
    await call.until("ringing")
    assert (await asyncio.to_thread(client.calls(placed.sid).fetch)).status == "ringing"
    ended = await asyncio.to_thread(client.calls(placed.sid).update, status="completed")
    assert ended.sid == placed.sid
    assert await call.settled() == "canceled"
    fetched = await asyncio.to_thread(client.calls(placed.sid).fetch)
    assert (fetched.status, fetched.duration) == ("canceled", "0")
    assert fetched.start_time <= fetched.end_time
    account = await asyncio.to_thread(client.api.accounts(twilio.account_sid).fetch)
    assert account.status == "active"
    assert [(seen.method, seen.status) for seen in twilio.requests] == [
        ("POST", 201),
        ("GET", 200),
        ("POST", 200),
        ("GET", 200),
        ("GET", 200),
    ]


async def test_the_list_is_filtered_paged_and_newest_first(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.anyone = NoAnswer()
    calls = [
        twilio.place(form(application, To=f"+1555010{number}", Timeout="60"))
        for number in (0, 1, 1, 2, 1)
    ]
    for call in calls:
        await call.until("ringing")
    calls[1].hang_up("api")
    await calls[1].ended()
    client = sdk(twilio)

    async def listed(**filters: object) -> list[str]:
        return [call.sid for call in await asyncio.to_thread(client.calls.list, **filters)]

    newest_first = [call.sid for call in reversed(calls)]
    assert await listed() == newest_first
    assert await listed(page_size=2) == newest_first
    assert await listed(limit=3, page_size=2) == newest_first[:3]
    assert await listed(to="+15550101") == [calls[4].sid, calls[2].sid, calls[1].sid]
    assert await listed(to="+15550101", status="ringing") == [calls[4].sid, calls[2].sid]
    assert await listed(from_="+15559999") == []
    an_hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert await listed(start_time_after=now - an_hour) == newest_first
    assert await listed(start_time_after=now + an_hour) == []
    assert await listed(start_time_before=now - an_hour) == []
    assert await listed(start_time=now.date()) == newest_first


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"to": "5550100"}, 21211, 400),
        ({"to": "+15550666"}, 21211, 400),
        ({"from_": "nobody"}, 21212, 400),
        ({"from_": "+15559999"}, 21210, 400),
        ({"url": "not a url"}, 21205, 400),
        ({"url": "ftp://example.com/x"}, 21205, 400),
        ({"status_callback": "/relative"}, 21609, 400),
    ],
)
async def test_bad_orders_are_refused_with_twilios_codes(
    twilio: TwilioEmulator,
    application: Application,
    change: dict[str, str],
    code: int,
    status: int,
) -> None:
    twilio.people["+15550666"] = Invalid()
    order = {"to": "+15550100", "from_": "+15550001", "url": application.url("/")} | change
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(sdk(twilio).calls.create, **order)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert twilio.calls == []


async def test_a_wrong_token_is_refused(twilio: TwilioEmulator) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(sdk(twilio, token="wrong").calls("CA0").fetch)
    assert (refused.value.code, refused.value.status) == (20003, 401)


async def test_unknown_calls_and_paths_are_not_found(twilio: TwilioEmulator) -> None:
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(sdk(twilio).calls("CA0").fetch)
    assert (refused.value.code, refused.value.status) == (20404, 404)
    async with httpx.AsyncClient() as client:
        answer = await client.get(twilio.url + "/2010-04-01/Nothing.json")
    assert (answer.status_code, answer.json()["code"]) == (404, 20404)


async def test_a_call_that_is_over_can_neither_be_ended_nor_redirected(
    twilio: TwilioEmulator, application: Application
) -> None:
    call = await _ended(twilio, application)
    update = sdk(twilio).calls(call.sid).update
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(update, status="completed")
    assert refused.value.code == 20404
    with pytest.raises(TwilioRestException) as refused:
        await asyncio.to_thread(update, twiml="<Response/>")
    assert refused.value.code == 21220


async def _ended(twilio: TwilioEmulator, application: Application) -> EmulatedCall:
    call = twilio.place(form(application))
    await call.settled()
    return call


async def test_a_refusal_on_command_happens_once(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.fail_next(Refuse(20429, "Too many requests"), ServerError(503))
    order = {"to": "+15550100", "from_": "+15550001", "url": application.url("/twiml")}
    create = sdk(twilio).calls.create
    for code, status in ((20429, 429), (20500, 503)):
        with pytest.raises(TwilioRestException) as refused:
            await asyncio.to_thread(create, **order)
        assert (refused.value.code, refused.value.status) == (code, status)
    assert twilio.calls == []
    await asyncio.to_thread(create, **order)
    assert len(twilio.calls) == 1


@pytest.mark.parametrize("placed", [True, False])
async def test_a_request_may_hang_with_or_without_its_call(
    twilio: TwilioEmulator, application: Application, placed: bool
) -> None:
    twilio.fail_next(Hang(placed=placed))
    client = sdk(twilio, timeout=0.2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        await asyncio.to_thread(
            client.calls.create, to="+15550100", from_="+15550001", url=application.url("/twiml")
        )
    assert len(twilio.calls) == int(placed)
    assert [seen.status for seen in twilio.requests] == [None]
    assert len(await asyncio.to_thread(sdk(twilio).calls.list)) == int(placed)


@pytest.mark.real_time
async def test_a_slow_answer_is_overtaken(twilio: TwilioEmulator, application: Application) -> None:
    call = twilio.place(form(application))
    twilio.fail_next(Slow(0.5, on="fetch"))
    finished: list[str] = []

    async def fetch(name: str) -> None:
        fetched = await asyncio.to_thread(sdk(twilio).calls(call.sid).fetch)
        assert fetched.sid == call.sid
        finished.append(name)

    slow = asyncio.create_task(fetch("slow"))
    await twilio.until(lambda: not twilio.faults)
    await fetch("fast")
    await slow
    assert finished == ["fast", "slow"]
