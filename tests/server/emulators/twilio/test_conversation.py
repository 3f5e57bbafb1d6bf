import asyncio
import wave
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import Response
from twilio.request_validator import RequestValidator

from server.emulators.twilio import (
    Answer,
    Busy,
    Handset,
    HangUp,
    Pause,
    Person,
    Say,
    TwilioEmulator,
)
from server.emulators.twilio.errors import Code
from server.emulators.twilio.mulaw import RATE, encode
from server.emulators.twilio.sound import is_audible, tone
from tests.server.emulators.twilio.application import Application, Seen, Socket
from tests.server.emulators.twilio.conftest import form, sdk


async def closes(socket: Socket) -> None:
    await socket.until("media", 2)


async def test_the_next_verb_comes_when_the_application_closes_the_stream(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.stream = closes
    application.answers["/twiml"] = application.stream_twiml(
        after="<Redirect>/next</Redirect>",
        attributes='statusCallback="/stream-status" name="line one"',
    )
    application.answers["/next"] = "<Response><Hangup/><Say>never</Say></Response>"
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    assert [moment.detail["verb"] for moment in call.record.all("verb")] == ["Stream", "Redirect"]
    assert len(application.seen("/next")) == 1
    told = application.seen("/stream-status")
    assert [seen.form["StreamEvent"] for seen in told] == ["stream-started", "stream-stopped"]
    assert told[0].form["StreamName"] == "line one"
    validator = RequestValidator(twilio.auth_token)
    assert all(validator.validate(seen.url, seen.form, seen.signature) for seen in told)


async def test_a_stream_that_dies_is_followed_by_a_new_one(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def dies(socket: Socket) -> None:
        await socket.until("media", 2)
        if len(application.sockets) == 1:
            await socket.websocket.close(1011)

    application.stream = dies
    application.answers["/twiml"] = application.stream_twiml(after="<Redirect>/again</Redirect>")
    application.answers["/again"] = application.stream_twiml()
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    first, second = application.sockets
    assert first.stream_sid != second.stream_sid
    assert len(call.record.all("stream.stopped")) == 2


async def test_what_was_not_played_when_the_stream_closes_is_dropped(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def plays_and_leaves(socket: Socket) -> None:
        await socket.play(encode(tone(440, 2.0)))
        await socket.until("media", 10)

    application.stream = plays_and_leaves
    application.answers["/twiml"] = application.stream_twiml()
    call = twilio.place(form(application))
    await call.settled()
    (stopped,) = call.record.all("stream.stopped")
    assert stopped.detail["dropped_ms"] > 1_000


async def test_say_is_heard_to_its_end(twilio: TwilioEmulator, application: Application) -> None:
    application.answers["/twiml"] = "<Response><Say>Goodbye then.</Say></Response>"
    call = twilio.place(form(application))
    await call.ended()
    samples = np.frombuffer(call.record.agent_audio, dtype="<i2")
    assert is_audible(samples)
    assert not is_audible(samples[-80:])
    assert call.record.first("twilio.says").detail == {"text": "Goodbye then."}  # type: ignore[union-attr]


def refuses(_: Seen) -> Response:
    return Response("no", status_code=500)


def says_plainly(_: Seen) -> Response:
    return Response("hello", media_type="application/json")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("<Response><Sing/></Response>", 12200),
        ("<Response", 12100),
        (refuses, 11200),
        (says_plainly, 12300),
    ],
)
async def test_an_application_error_is_said_and_ends_the_call(
    twilio: TwilioEmulator, application: Application, answer: object, code: int
) -> None:
    application.answers["/twiml"] = answer  # type: ignore[assignment]
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    assert [error.code for error in call.record.errors] == [code]
    assert "application error" in call.record.all("twilio.says")[0].detail["text"]
    assert call.record.agent_speech()


async def test_an_application_that_is_not_there_is_an_error_too(
    twilio: TwilioEmulator, application: Application
) -> None:
    call = twilio.place(form(application, Url="http://127.0.0.1:9/twiml"))
    await call.happened("error")
    call.hang_up()
    await call.settled()
    assert [error.code for error in call.record.errors] == [11200]


async def test_the_fallback_url_is_asked_with_the_error(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers |= {"/twiml": refuses, "/fallback": "<Response/>"}
    call = twilio.place(form(application, FallbackUrl=application.url("/fallback")))
    assert await call.settled() == "completed"
    (asked,) = application.seen("/fallback")
    assert asked.form["ErrorCode"] == "11200"
    assert asked.form["ErrorUrl"] == application.url("/twiml")


@pytest.mark.parametrize(
    ("overrides", "tries"), [("", 1), ("#rc=2&rp=5xx", 3), ("#rc=2&rp=4xx", 1)]
)
async def test_a_url_may_ask_for_more_tries(
    twilio: TwilioEmulator, application: Application, overrides: str, tries: int
) -> None:
    application.answers["/twiml"] = refuses
    call = twilio.place(form(application, Url=application.url("/twiml" + overrides)))
    await call.happened("error")
    call.hang_up()
    await call.settled()
    assert len(application.seen("/twiml")) == tries


async def test_a_live_call_is_redirected_and_ended_by_rest(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = application.stream_twiml(after="<Say>never</Say>")
    call = twilio.place(form(application))
    socket = await application.socket()
    update = sdk(twilio).calls(call.sid).update
    await asyncio.to_thread(update, twiml='<Response><Pause length="60"/></Response>')
    await call.changes.until(lambda: len(call.record.all("verb")) == 2)
    assert socket.all("stop")
    await asyncio.to_thread(update, status="completed")
    assert await call.settled() == "completed"
    assert call.hung_up_by == "api"
    assert [moment.detail["verb"] for moment in call.record.all("verb")] == ["Stream", "Pause"]


async def test_hanging_up_says_stop_before_the_call_is_completed(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = application.stream_twiml()
    twilio.people["+15550100"] = Person([Pause(0.2), HangUp()])
    call = twilio.place(form(application))
    await call.settled()
    assert application.sockets[0].all("stop")
    kinds = [moment.kind for moment in call.record.moments]
    assert kinds.index("hung_up") < kinds.index("stream.stopped") < kinds.index("completed")


async def test_a_transfer_connects_two_people(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def colleague(phone: Handset) -> None:
        await phone.play(tone(440, 0.4).tobytes(), RATE)
        await phone.listen_until_silence(0.2)
        phone.hang_up()

    async def caller(phone: Handset) -> None:
        await phone.listen_until_silence(0.2)
        await phone.play(tone(600, 0.4).tobytes(), RATE)

    twilio.people |= {"+15550100": caller, "+15550200": colleague}
    application.answers["/twiml"] = (
        '<Response><Dial action="/dialled"><Number>+15550200</Number></Dial></Response>'
    )
    application.answers["/dialled"] = "<Response><Hangup/></Response>"
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    (transfer,) = call.record.transfers
    assert (transfer.number, transfer.status) == ("+15550200", "completed")
    assert application.seen("/dialled")[0].form["DialCallStatus"] == "completed"
    assert call.record.agent_speech()
    assert call.record.all("dial.agent.speaks")


@pytest.mark.parametrize(
    ("colleague", "status"),
    [(None, "completed"), (Busy(), "busy"), (Answer(ring_secs=9), "no-answer")],
)
async def test_a_transfer_to_nobody_in_particular_goes_on(
    twilio: TwilioEmulator, application: Application, colleague: Busy | None, status: str
) -> None:
    if colleague is not None:
        twilio.people["+15550200"] = colleague
    application.answers["/twiml"] = '<Response><Dial timeout="0.1">+15550200</Dial></Response>'
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    assert [transfer.status for transfer in call.record.transfers] == [status]


@pytest.mark.parametrize(
    ("from_", "caller_id", "refused"),
    [
        ("+15550100", None, False),
        ("+15550100", "+15550001", False),
        ("client:alice", "+15550001", False),
        ("client:alice", None, True),
        ("anonymous", None, True),
        ("+15550100", "", True),
        ("+15550100", "client:alice", True),
        ("+15550100", "sip:support@example-company.sip.tw", True),
        ("+15550100", "+15550777", True),
    ],
)
async def test_a_transfer_shows_a_number_of_the_account_or_is_refused(
    twilio: TwilioEmulator,
    application: Application,
    from_: str,
    caller_id: str | None,
    refused: bool,
) -> None:
    shown = "" if caller_id is None else f' callerId="{caller_id}"'
    application.answers["/twiml"] = f"<Response><Dial{shown}>+15550200</Dial></Response>"
    call = await twilio.call_in(from_, "+15550001", application.url("/twiml"))
    await call.settled()
    assert [error.code for error in call.record.errors] == [Code.BAD_CALLER_ID] * refused
    assert len(call.record.transfers) == (not refused)


async def test_the_record_is_written_as_a_stereo_wav(
    twilio: TwilioEmulator, application: Application, tmp_path: Path
) -> None:
    application.answers["/twiml"] = "<Response><Say>Hello.</Say><Pause length='1'/></Response>"
    twilio.people["+15550100"] = Person([Pause(0.8), Say("Yes.")])
    call = twilio.place(form(application))
    await call.ended()
    call.write_wav(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RATE)
        both = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    assert both[:, 0].tobytes() == call.record.caller_audio
    assert both[:, 1].tobytes() == call.record.agent_audio
    assert is_audible(both[:, 0])
    assert is_audible(both[:, 1])


async def test_the_emulator_answers_only_on_loopback(twilio: TwilioEmulator) -> None:
    assert httpx.URL(twilio.url).host == "127.0.0.1"
    assert twilio.environment()["TWILIO_API_BASE_URL"] == twilio.url
