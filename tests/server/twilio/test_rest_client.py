"""The telephone by Twilio's SDK, against the emulated REST API: refused is not unclear."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from twilio.base.exceptions import TwilioRestException

from agent.ports import DialRefused, DialRequest, DialUncertain
from server.emulators.gemini_live.certificate import make_certificate
from server.emulators.twilio import Hang, Invalid, NoAnswer, Refuse, ServerError, TwilioEmulator
from server.http.serving import listen
from server.twilio.no_telephone import NoTelephone
from server.twilio.rest_client import TwilioTelephone
from tests.server.http_listener import (
    Does,
    answers_nonsense,
    is_silent,
    leaves,
    listening,
    resets,
    says_half,
)

OUR_NUMBER = "+15550100999"
REQUEST = DialRequest("0" * 32, "+15550100123", OUR_NUMBER, 30, placed_at=time.time())


@contextlib.asynccontextmanager
async def telephone(
    twilio: TwilioEmulator, known: frozenset[str] = frozenset(), root: str | None = None
) -> AsyncIterator[TwilioTelephone]:
    async def is_known(sid: str) -> bool:
        return sid in known

    phone = TwilioTelephone(
        account_sid=twilio.account_sid,
        auth_token=twilio.auth_token,
        base_url="http://127.0.0.1:9",
        known=is_known,
        rest_root=root or twilio.url,
        timeout_secs=1.0,
    )
    try:
        yield phone
    finally:
        phone.close()


@pytest.fixture(autouse=True)
def let_it_ring(twilio: TwilioEmulator) -> None:
    twilio.anyone = NoAnswer()


async def test_a_call_is_placed_once_with_all_that_twilio_needs(twilio: TwilioEmulator) -> None:
    async with telephone(twilio) as phone:
        sid = await phone.dial(REQUEST)
    (request,) = twilio.requests
    assert sid.startswith("CA")
    assert request.form["To"] == ["+15550100123"]
    assert request.form["From"] == [OUR_NUMBER]
    assert request.form["Timeout"] == ["30"]
    assert request.form["Url"] == [f"http://127.0.0.1:9/twilio/twiml/{REQUEST.call_id}"]
    assert request.form["StatusCallback"] == [f"http://127.0.0.1:9/twilio/status/{REQUEST.call_id}"]
    events = request.form["StatusCallbackEvent"]
    assert events == ["ringing", "completed"]


@pytest.mark.parametrize("name", ["TWILIO_REGION", "TWILIO_EDGE"])
async def test_a_root_that_is_set_wins_over_a_region_of_the_environment(
    twilio: TwilioEmulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "ie1")
    async with telephone(twilio) as phone:
        assert (await phone.dial(REQUEST)).startswith("CA")
    assert len(twilio.requests) == 1


async def test_a_number_that_twilio_refuses_is_refused_with_its_code(
    twilio: TwilioEmulator,
) -> None:
    twilio.anyone = Invalid()
    async with telephone(twilio) as phone:
        with pytest.raises(DialRefused) as refusal:
            await phone.dial(REQUEST)
    assert refusal.value.code == 21211
    assert "not valid" in refusal.value.message


async def test_too_many_requests_are_a_refusal(twilio: TwilioEmulator) -> None:
    twilio.fail_next(Refuse(20429))
    async with telephone(twilio) as phone:
        with pytest.raises(DialRefused):
            await phone.dial(REQUEST)


async def test_a_refused_connection_is_a_refusal_since_nothing_was_sent(
    twilio: TwilioEmulator,
) -> None:
    with listen("127.0.0.1", 0) as nobody:
        port = nobody.getsockname()[1]
    async with telephone(twilio, root=f"http://127.0.0.1:{port}") as phone:
        with pytest.raises(DialRefused):
            await phone.dial(REQUEST)


@pytest.mark.parametrize("fault", [ServerError(), ServerError(placed=True), Hang(placed=True)])
async def test_no_clear_answer_is_unclear_and_is_not_asked_again(
    twilio: TwilioEmulator, fault: Hang | ServerError
) -> None:
    twilio.fail_next(fault)
    async with telephone(twilio) as phone:
        with pytest.raises(DialUncertain):
            await phone.dial(REQUEST)
        await twilio.until(lambda: len(twilio.requests) == 1)
        found = await phone.find(REQUEST)
    assert [r.method for r in twilio.requests] == ["POST", "GET"]
    assert (found is not None) is fault.placed
    assert [call.sid for call in twilio.calls] == ([found.twilio_sid] if found else [])


async def test_a_tls_that_fails_is_a_refusal_since_nothing_was_sent(
    twilio: TwilioEmulator, tmp_path: Path
) -> None:
    tls = make_certificate(tmp_path).server_context()
    async with listening(tls=tls) as server, telephone(twilio, root=server.url) as phone:
        with pytest.raises(DialRefused):
            await phone.dial(REQUEST)
    assert server.heard == []


@pytest.mark.parametrize("does", [resets, leaves, says_half, is_silent, answers_nonsense])
async def test_an_answer_that_is_none_is_unclear_and_is_not_asked_for_again(
    twilio: TwilioEmulator, does: Does
) -> None:
    async with listening(does) as server, telephone(twilio, root=server.url) as phone:
        with pytest.raises(DialUncertain):
            await phone.dial(REQUEST)
    assert len(server.heard) == 1


async def test_a_call_that_is_known_as_another_is_not_found_for_this_one(
    twilio: TwilioEmulator,
) -> None:
    async with telephone(twilio) as phone:
        sid = await phone.dial(REQUEST)
    async with telephone(twilio, known=frozenset({sid})) as phone:
        assert await phone.find(REQUEST) is None
    async with telephone(twilio) as phone:
        found = await phone.find(REQUEST)
    assert found
    assert found.twilio_sid == sid


async def test_one_call_is_never_found_for_two(twilio: TwilioEmulator) -> None:
    other = replace(REQUEST, call_id="1" * 32)
    async with telephone(twilio) as phone:
        for request in (REQUEST, other):
            twilio.fail_next(ServerError(placed=request is REQUEST))
            with pytest.raises(DialUncertain):
                await phone.dial(request)
        found = await asyncio.gather(phone.find(REQUEST), phone.find(other))
        assert sum(call is not None for call in found) == 1
        third = replace(REQUEST, call_id="2" * 32)
        await phone.dial(third)
        # It is Twilio's answer that says whose call it is, before any record does.
        assert await phone.find(replace(REQUEST, call_id="3" * 32)) is None


async def test_a_call_is_looked_up_and_hung_up_and_twice_is_fine(twilio: TwilioEmulator) -> None:
    async with telephone(twilio) as phone:
        sid = await phone.dial(REQUEST)
        await twilio.calls[0].until("ringing")
        before = await phone.look_up(sid)
        await phone.hang_up(sid)
        await twilio.calls[0].ended()
        await phone.hang_up(sid)
        after = await phone.look_up(sid)
    assert before
    assert after
    assert before.status == "ringing"
    assert after.status in ("completed", "canceled", "no-answer")


async def test_a_call_that_twilio_does_not_know_is_none_and_needs_no_hang_up(
    twilio: TwilioEmulator,
) -> None:
    async with telephone(twilio) as phone:
        assert await phone.look_up("CA" + "0" * 32) is None
        await phone.hang_up("CA" + "0" * 32)


async def test_a_hang_up_that_failed_says_so(twilio: TwilioEmulator) -> None:
    async with telephone(twilio) as phone:
        sid = await phone.dial(REQUEST)
        twilio.fail_next(ServerError(on="update"))
        with pytest.raises(TwilioRestException):
            await phone.hang_up(sid)


async def test_the_event_loop_goes_on_while_twilio_is_silent(twilio: TwilioEmulator) -> None:
    twilio.fail_next(Hang())
    async with telephone(twilio) as phone:
        dialling = asyncio.create_task(phone.dial(REQUEST))
        await twilio.until(lambda: bool(twilio.requests))
        turns = 0
        while not dialling.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(DialUncertain):
            await dialling
    assert turns > 10


async def test_a_call_that_is_not_in_progress_is_not_redirected(twilio: TwilioEmulator) -> None:
    async with telephone(twilio) as phone:
        ringing = await phone.dial(REQUEST)
        assert not await phone.redirect(ringing, REQUEST.call_id)
        assert not await phone.redirect("CA" + "0" * 32, REQUEST.call_id)
        url = f"http://127.0.0.1:9/twilio/twiml/{REQUEST.call_id}"
        assert twilio.requests[-1].form == {"Url": [url], "Method": ["POST"]}
        twilio.fail_next(ServerError(on="update"))
        with pytest.raises(TwilioRestException):
            await phone.redirect(ringing, REQUEST.call_id)
    assert not await NoTelephone().redirect(ringing, REQUEST.call_id)


async def test_without_credentials_nothing_is_placed() -> None:
    phone = NoTelephone()
    with pytest.raises(DialRefused, match="not configured"):
        await phone.dial(REQUEST)
    assert await phone.look_up("CA1") is None
    assert await phone.find(REQUEST) is None


FRESH = """
import sys
from server.twilio.rest_client import TwilioTelephone

def imported():
    return {name for name in sys.modules if name.startswith("twilio.rest.")}

before = imported()
telephone = TwilioTelephone(account_sid="AC1", auth_token="t", base_url="http://a", known=None)
opened = imported()
telephone._calls("CA1").update, telephone._calls.create, telephone._calls.list
telephone.close()
print(len(opened - before), len(imported() - opened))
"""


def test_the_sdk_is_imported_when_it_is_opened_and_not_when_a_call_is_placed() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=60)
    opening, dialling = done.stdout.split()
    assert int(opening) > 50, done.stderr
    assert int(dialling) == 0
