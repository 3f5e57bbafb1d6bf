"""The emulator against messages that follow Twilio's documentation (tests/wire/twilio)."""

import json
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from server.emulators.twilio import Handset, TwilioEmulator, Voicemail
from server.emulators.twilio.mulaw import RATE
from tests.server.emulators.twilio.application import Application, Seen, Socket
from tests.server.emulators.twilio.conftest import form

WIRE = Path(__file__).parents[3] / "wire" / "twilio"


def recorded(name: str) -> Any:
    return json.loads((WIRE / name).read_text())


def recorded_form(name: str) -> dict[str, str]:
    return dict(parse_qsl((WIRE / "forms" / f"{name}.txt").read_text().strip()))


def shape(value: Any) -> Any:
    """What a value looks like: keys, types, and whether a text is a number."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, str):
        return "digits" if value.isdigit() else "text"
    return type(value).__name__


async def test_stream_messages_have_the_recorded_shapes(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def presses_and_leaves(phone: Handset) -> None:
        await phone.hears_speech()
        await phone.press("1")
        phone.hang_up()

    async def says_what_was_recorded(socket: Socket) -> None:
        for name in ("media", "mark", "clear", "media", "mark"):
            message = recorded(f"stream/to_twilio_{name}.json")
            await socket.websocket.send_json(message | {"streamSid": socket.stream_sid})
        await socket.send("media", media={"payload": "AAAA" * (RATE // 3)})
        await socket.until("stop")

    application.stream = says_what_was_recorded
    application.answers["/twiml"] = application.stream_twiml(
        inside='<Parameter name="FirstName" value="Ann"/><Parameter name="LastName" value="Lee"/>'
    )
    twilio.people["+15550100"] = presses_and_leaves
    call = twilio.place(form(application))
    await call.settled()
    assert call.record.errors == []
    (socket,) = application.sockets
    for event in ("connected", "start", "media", "dtmf", "mark", "stop"):
        assert shape(socket.all(event)[0]) == shape(recorded(f"stream/{event}.json")), event
    numbered = [int(m["sequenceNumber"]) for m in socket.received if "sequenceNumber" in m]
    assert numbered == list(range(1, len(numbered) + 1))


async def test_forms_have_the_recorded_fields(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def breaks_the_protocol(socket: Socket) -> None:
        await socket.until("media", 20)
        await socket.websocket.send_text("no")
        await socket.until("stop")

    application.stream = breaks_the_protocol
    application.answers["/twiml"] = application.stream_twiml(
        attributes='name="line" statusCallback="/stream-status"'
    )
    twilio.people["+15550100"] = Voicemail("Hello.")
    order = form(
        application,
        MachineDetection="Enable",
        AsyncAmd="true",
        AsyncAmdStatusCallback=application.url("/amd"),
    )
    await twilio.place(order).settled()

    def check(seen: Seen, name: str) -> None:
        wanted = recorded_form(name)
        fields = set(seen.form) - ({"AnsweredBy"} if "AnsweredBy" not in wanted else set())
        assert fields == set(wanted), name

    check(application.seen("/twiml")[0], "twiml_request")
    check(application.seen("/amd")[0], "amd")
    events = ("initiated", "ringing", "answered", "completed")
    for seen, event in zip(application.seen("/status"), events, strict=True):
        check(seen, f"status_{event}")
        assert seen.form["CallStatus"] == recorded_form(f"status_{event}")["CallStatus"]
        assert parsedate_to_datetime(seen.form["Timestamp"]).tzinfo is not None
    for seen, event in zip(
        application.seen("/stream-status"), ("started", "error", "stopped"), strict=True
    ):
        check(seen, f"stream_{event}")
        assert seen.form["StreamEvent"] == f"stream-{event}"
        assert seen.form["Timestamp"].endswith("Z")
        assert datetime.fromisoformat(seen.form["Timestamp"]).tzinfo is not None


@pytest.fixture
async def rest(twilio: TwilioEmulator) -> Any:
    root = f"{twilio.url}/2010-04-01/Accounts/{twilio.account_sid}"
    auth = (twilio.account_sid, twilio.auth_token)
    async with httpx.AsyncClient(auth=auth) as client:

        async def request(method: str, path: str, **more: Any) -> Any:
            return (await client.request(method, root + path, **more)).json()

        yield request


@pytest.mark.real_time
async def test_rest_answers_have_the_recorded_shapes(
    twilio: TwilioEmulator, application: Application, rest: Any
) -> None:
    call = twilio.place(form(application))
    await call.settled()
    assert shape(await rest("GET", f"/Calls/{call.sid}.json")) == shape(recorded("rest/call.json"))
    assert shape(await rest("GET", "/Calls.json")) == shape(recorded("rest/call_list.json"))
    queued = await rest("POST", "/Calls.json", data=form(application))
    assert set(queued) == set(recorded("rest/call.json"))
    assert (queued["status"], queued["start_time"], queued["duration"]) == ("queued", None, None)
    await twilio.calls[-1].settled()


@pytest.mark.real_time
async def test_rest_errors_have_the_recorded_bodies(
    twilio: TwilioEmulator, application: Application, rest: Any
) -> None:
    order = form(application, To="5550100")
    assert await rest("POST", "/Calls.json", data=order) == recorded("rest/error_21211.json")
    missing = recorded("rest/error_20404.json")
    got = await rest("GET", "/Calls/CA0.json")
    assert got | {"message": ""} == missing | {"message": ""}
    assert await rest("GET", "/Calls.json", auth=("a", "b")) == recorded("rest/error_20003.json")
