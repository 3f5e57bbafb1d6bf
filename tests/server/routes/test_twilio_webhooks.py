"""Twilio's webhooks through the real app: who is let in, and what Twilio is told."""

import asyncio
import io
from typing import Any
from xml.etree import ElementTree

import pytest
from loguru import logger

from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.observability.logs import set_up_logs
from server.settings.settings import Settings
from tests.server.conftest import OUR_NUMBER, SHARED, THEIRS, Running, ServerFactory

WEBHOOKS = [
    "/twilio/inbound",
    "/twilio/twiml/{id}",
    "/twilio/status/{id}",
    "/twilio/stream-status/{id}",
    "/twilio/status",
]
INBOUND = {
    "CallSid": "CA" + "1" * 32,
    "AccountSid": "AC" + "1" * 32,
    "From": THEIRS,
    "To": OUR_NUMBER,
    "CallStatus": "ringing",
    "Direction": "inbound",
}


@pytest.fixture(autouse=True)
def let_it_ring(twilio: TwilioEmulator) -> None:
    twilio.anyone = NoAnswer()


async def calls(server: Running) -> list[dict[str, Any]]:
    return list((await server.http.get("/calls")).json()["calls"])


async def only_call(server: Running) -> dict[str, Any]:
    (call,) = await calls(server)
    return call


@SHARED
@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize("signature", ["none", "wrong", "of another form", "of another address"])
async def test_a_request_that_twilio_did_not_sign_gets_403_and_changes_nothing(
    shared_server: Running, path: str, signature: str
) -> None:
    server = shared_server
    call = await server.place()
    known = await calls(server)
    rejected = 'voice_ai_rejected_requests_total{reason="webhook_signature"}'
    before = await server.metric(rejected)
    path = path.format(id=call["id"])
    form = INBOUND | {"CallStatus": "completed", "CallSid": call["twilio_sid"]}
    signatures = {
        "wrong": "x" * 28,
        "of another form": server.sign(server.url + path, form | {"CallStatus": "busy"}),
        "of another address": server.sign(server.url + path + "x", form),
    }
    headers = {"X-Twilio-Signature": signatures[signature]} if signature in signatures else {}
    answer = await server.http.post(path, data=form, headers=headers)
    assert answer.status_code == 403
    assert set(answer.json()) == {"detail"}
    assert [each["id"] for each in await calls(server)] == [each["id"] for each in known]
    now = (await server.http.get(f"/calls/{call['id']}")).json()
    assert now["status"] in ("initiated", "ringing")
    assert await server.metric(rejected) == before + 1


async def test_without_an_auth_token_no_webhook_is_let_in(start_server: ServerFactory) -> None:
    async with start_server(twilio_auth_token=None) as server:
        assert (await server.twilio_posts("/twilio/inbound", INBOUND)).status_code == 403


async def test_a_call_comes_in_and_its_record_is_opened_once(server: Running) -> None:
    answers = await asyncio.gather(
        *(server.twilio_posts("/twilio/inbound", INBOUND) for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["Content-Type"].startswith("application/xml")
    call = await only_call(server)
    assert (call["direction"], call["twilio_sid"]) == ("inbound", INBOUND["CallSid"])
    assert (call["phone_number"], call["our_number"]) == (THEIRS, OUR_NUMBER)
    assert await server.metric("voice_ai_active_calls") == 1
    document = ElementTree.fromstring(answers[0].text)
    assert [verb.tag for verb in document] == ["Connect", "Redirect"]
    stream_url = document[0][0].attrib["url"]
    assert stream_url == f"ws{server.url.removeprefix('http')}/twilio/media/{call['id']}"
    assert document[1].text == f"{server.url}/twilio/twiml/{call['id']}"


async def test_the_end_of_a_call_that_came_in_is_told_by_its_call_sid(server: Running) -> None:
    await server.twilio_posts("/twilio/inbound", INBOUND)
    ended = INBOUND | {"CallStatus": "completed"}
    assert (await server.twilio_posts("/twilio/status", ended)).status_code == 204
    assert (await only_call(server))["status"] == "completed"
    await server.until_metric("voice_ai_active_calls", 0)
    unknown = ended | {"CallSid": "CA" + "9" * 32}
    assert (await server.twilio_posts("/twilio/status", unknown)).status_code == 404


async def test_each_number_of_ours_has_its_pipeline_and_agent(start_server: ServerFactory) -> None:
    routes = (
        f'{{"{OUR_NUMBER}": {{"pipeline": "phone_call", "language": "de-DE", '
        '"max_duration_seconds": 77}}'
    )
    async with start_server(inbound_numbers=routes) as server:
        await server.twilio_posts("/twilio/inbound", INBOUND)
        assert (await only_call(server))["language"] == "de-DE"
        other = INBOUND | {"To": "+15550100000", "CallSid": "CA" + "2" * 32}
        refused = await server.twilio_posts("/twilio/inbound", other)
        assert len(await calls(server)) == 1
    document = ElementTree.fromstring(refused.text)
    assert [verb.tag for verb in document] == ["Say", "Hangup"]
    assert "not in service" in (document[0].text or "")


async def test_a_caller_hears_that_all_lines_are_busy_and_no_record_is_opened(
    start_server: ServerFactory,
) -> None:
    async with start_server(max_concurrent_calls=1) as server:
        await server.twilio_posts("/twilio/inbound", INBOUND)
        other = INBOUND | {"CallSid": "CA" + "2" * 32}
        refused = await server.twilio_posts("/twilio/inbound", other)
        again = await server.twilio_posts("/twilio/inbound", INBOUND)
        assert len(await calls(server)) == 1
    document = ElementTree.fromstring(refused.text)
    assert [verb.tag for verb in document] == ["Say", "Hangup"]
    assert "busy" in (document[0].text or "")
    assert [verb.tag for verb in ElementTree.fromstring(again.text)] == ["Connect", "Redirect"]


async def test_status_callbacks_late_and_twice_end_in_one_outcome(server: Running) -> None:
    call = await server.place()
    path = f"/twilio/status/{call['id']}"
    form = {"CallSid": call["twilio_sid"]}
    await server.twiml(call)
    for word in ("in-progress", "ringing", "completed", "ringing", "completed", "busy"):
        answer = await server.twilio_posts(path, form | {"CallStatus": word})
        assert answer.status_code == 204
    now = await only_call(server)
    assert (now["status"], now["end_reason"]) == ("completed", "caller")
    assert now["answered_at"]
    assert now["ended_at"]


async def test_a_call_that_is_over_is_told_to_hang_up(server: Running) -> None:
    call = await server.place()
    form = {"CallSid": call["twilio_sid"], "CallStatus": "completed"}
    await server.twilio_posts(f"/twilio/status/{call['id']}", form)
    assert [verb.tag for verb in await server.twiml(call)] == ["Hangup"]


async def test_streams_that_never_come_end_in_an_apology(server: Running) -> None:
    call = await server.place()
    told = [[verb.tag for verb in await server.twiml(call)] for _ in range(4)]
    assert told[0] == ["Connect", "Redirect"]
    assert told[-1] == ["Say", "Hangup"]
    assert sorted(told) == told


async def test_each_twiml_brings_a_new_token(server: Running) -> None:
    call = await server.place()
    tokens = [(await server.twiml(call))[0][0][0].attrib["value"] for _ in range(2)]
    assert tokens[0] != tokens[1]


async def test_what_twilio_reports_of_a_stream_is_kept(server: Running) -> None:
    call = await server.place()
    form = {
        "CallSid": call["twilio_sid"],
        "StreamSid": "MZ1",
        "StreamEvent": "stream-error",
        "StreamError": "31924",
    }
    answer = await server.twilio_posts(f"/twilio/stream-status/{call['id']}", form)
    assert answer.status_code == 204
    events = (await server.http.get(f"/calls/{call['id']}/events")).json()["events"]
    detail = {"event": "stream-error", "stream_sid": "MZ1", "error": "31924"}
    assert detail in [event["detail"] for event in events if event["kind"] == "twilio.stream"]


async def test_a_wrong_signature_is_one_warning_a_route_that_says_what_was_checked(
    start_server: ServerFactory,
) -> None:
    logged: list[dict[str, Any]] = []
    sink = logger.add(lambda line: logged.append(dict(line.record["extra"])), level="WARNING")
    try:
        async with start_server(base_url="https://voice.example.com") as server:
            headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tunnel.example"}
            for call_id in ("one", "two", "three"):
                await server.twilio_posts(f"/twilio/status/{call_id}", INBOUND)
            await server.http.post("/twilio/inbound?a=secret", data=INBOUND, headers=headers)
    finally:
        logger.remove(sink)
    told = [one for one in logged if "checked" in one]
    assert [(one["route"], one["checked"], one["signature"]) for one in told] == [
        ("/twilio/status/{call_id}", "https://voice.example.com/twilio/status/one", "present"),
        ("/twilio/inbound", "https://voice.example.com/twilio/inbound?…", "missing"),
    ]
    assert "BASE_URL" in told[0]["usual_cause"]
    assert told[1]["forwarded_proto"] == "https"


@pytest.mark.parametrize(
    ("obeyed", "status", "shown"),
    [
        # httptools takes no such byte in a header.
        (b"\x1b[31m", b"400", None),
        (b"\x9b31m", b"403", "tunnel\\x9b31m.example"),
        (b"\x85fake", b"403", "tunnel\\x85fake.example"),
    ],
)
async def test_no_header_is_obeyed_by_who_reads_the_log(
    start_server: ServerFactory, obeyed: bytes, status: bytes, shown: str | None
) -> None:
    written = io.StringIO()
    async with start_server() as server:
        set_up_logs(Settings(), written)
        try:
            port = int(server.url.rsplit(":", 1)[1])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /twilio/inbound HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n"
                b"X-Forwarded-Host: tunnel" + obeyed + b".example\r\n\r\na=b"
            )
            answer = await reader.read()
            writer.close()
        finally:
            logger.remove()
    assert answer.split(b" ")[1] == status
    assert not set(written.getvalue()) & {"\x1b", "\x9b", "\x85"}
    assert shown is None or shown in written.getvalue()


@pytest.mark.parametrize("path", WEBHOOKS[1:4])
async def test_a_call_that_we_do_not_know_is_404(server: Running, path: str) -> None:
    call = await server.place()
    form = {"CallSid": "CA" + "9" * 32, "CallStatus": "completed"}
    for call_id in ("0" * 32, "nope", call["id"]):
        assert (await server.twilio_posts(path.format(id=call_id), form)).status_code == 404
    assert (await only_call(server))["status"] in ("initiated", "ringing")


async def test_a_form_without_what_is_needed_is_refused(server: Running) -> None:
    call = await server.place()
    assert (await server.twilio_posts("/twilio/inbound", {"To": OUR_NUMBER})).status_code == 400
    form = {"CallSid": call["twilio_sid"]}
    assert (await server.twilio_posts(f"/twilio/status/{call['id']}", form)).status_code == 400


async def test_a_form_is_limited_in_size_and_fields(server: Running) -> None:
    large = await server.twilio_posts("/twilio/inbound", {"From": "x" * 70_000})
    assert large.status_code == 413
    many = INBOUND | {f"f{n}": "1" for n in range(201 - len(INBOUND))}
    assert (await server.twilio_posts("/twilio/inbound", many)).status_code == 403
    assert await calls(server) == []
    many.popitem()
    assert (await server.twilio_posts("/twilio/inbound", many)).status_code == 200


async def test_a_form_may_have_blank_fields_and_any_text(server: Running) -> None:
    form = INBOUND | {"CallerName": "Zoë & Sons = 100 %+", "ForwardedFrom": "", "": "x", "😀": "ä"}
    assert (await server.twilio_posts("/twilio/inbound", form)).status_code == 200


async def test_a_body_that_is_no_form_is_not_signed(server: Running) -> None:
    path = "/twilio/inbound"
    headers = {"X-Twilio-Signature": server.sign(server.url + path, INBOUND)}
    as_json = await server.http.post(path, json=INBOUND, headers=headers)
    files = {name: (None, value) for name, value in INBOUND.items()}
    in_parts = await server.http.post(path, files=files, headers=headers)
    for answer in (as_json, in_parts):
        assert answer.status_code == 403
    assert await calls(server) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "client:quite_a_long_name_of_an_app_of_ours",
            "sip:support@example-company.sip.twilio.com",
        ),
        ("sip:+15550100123@edge.example.com;user=phone", "sips:" + "a" * 200 + "@example.com"),
        ("whatsapp:+15550100123", "whatsapp:+15550100999"),
        ("anonymous", OUR_NUMBER),
        ("sip:" + "ü" * 508, "sip:" + "😀" * 508),
    ],
)
async def test_a_whole_address_is_kept_and_found(server: Running, theirs: str, ours: str) -> None:
    form = INBOUND | {"From": theirs, "To": ours}
    assert (await server.twilio_posts("/twilio/inbound", form)).status_code == 200
    other = INBOUND | {"From": THEIRS, "To": "+15550100998", "CallSid": "CA" + "5" * 32}
    assert (await server.twilio_posts("/twilio/inbound", other)).status_code == 200
    for params in ({"phone_number": theirs}, {"our_number": ours}):
        answer = await server.http.get("/calls", params=params)
        (found,) = answer.json()["calls"]
        assert (found["phone_number"], found["our_number"]) == (theirs, ours)


async def test_a_caller_without_any_address_is_unknown(server: Running) -> None:
    assert (await server.twilio_posts("/twilio/inbound", INBOUND | {"From": ""})).status_code == 200
    assert (await only_call(server))["phone_number"] == "unknown"
