import asyncio
import base64
from typing import Any

import numpy as np
import pytest
from twilio.request_validator import RequestValidator

from server.emulators.twilio import Handset, Person, Press, Say, TwilioEmulator
from server.emulators.twilio.conditions import LineConditions
from server.emulators.twilio.mulaw import PACKET, RATE, SILENCE, decode, encode
from server.emulators.twilio.sound import tone
from tests.server.emulators.twilio.application import Application, Socket
from tests.server.emulators.twilio.conftest import form

A_SECOND = encode(tone(440, 1.0))


@pytest.fixture
def application(application: Application) -> Application:
    application.answers["/twiml"] = application.stream_twiml()
    return application


async def test_a_stream_begins_as_documented(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = application.stream_twiml(
        inside='<Parameter name="token" value="t1"/>'
    )
    call = twilio.place(form(application))
    socket = await application.socket()
    await socket.until("media", 3)
    assert [message["event"] for message in socket.received[:3]] == ["connected", "start", "media"]
    start = socket.all("start")[0]
    assert start["start"]["customParameters"] == {"token": "t1"}
    assert start["start"]["callSid"] == call.sid
    media = socket.all("media")[:3]
    assert [message["media"]["chunk"] for message in media] == ["1", "2", "3"]
    assert [message["media"]["timestamp"] for message in media] == ["20", "40", "60"]
    assert [message["sequenceNumber"] for message in socket.received[1:5]] == ["1", "2", "3", "4"]
    assert base64.b64decode(media[0]["media"]["payload"]) == bytes((SILENCE,)) * PACKET
    assert RequestValidator(twilio.auth_token).validate(
        application.stream_url, {}, socket.signature
    )


async def test_what_is_played_is_heard_whole_and_without_a_gap(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def plays(socket: Socket) -> None:
        for start in range(0, len(A_SECOND), 333):
            await socket.play(A_SECOND[start : start + 333])
        await socket.mark("end")
        await socket.until("mark")

    application.stream = plays
    call = twilio.place(form(application))
    await call.ended()
    heard = np.frombuffer(call.record.agent_audio, dtype="<i2")
    start = round((call.record.first_sound_secs or 0) * RATE)
    played = decode(A_SECOND)
    offset = next(at for at in range(start, start - 40, -1) if heard[at] == 0)
    first = int(np.flatnonzero(played)[0])
    assert np.array_equal(heard[offset + 1 - first :][: len(played)], played)
    assert call.record.gaps == []
    (span,) = call.record.agent_speech()
    assert span.end_secs - span.start_secs == pytest.approx(1.0, abs=0.04)
    received, echoed = call.record.first("mark.received"), call.record.first("mark.echoed")
    assert received is not None
    assert echoed is not None
    assert echoed.at - received.at > 0.9


async def test_clear_silences_and_echoes_what_was_pending(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def plays_and_clears(socket: Socket) -> None:
        await socket.play(A_SECOND)
        await socket.mark("one")
        await socket.play(A_SECOND)
        await socket.mark("two")
        seen = len(socket.all("media"))
        await socket.until("media", seen + 10)
        await socket.send("clear")
        await socket.until("mark", 2)
        await socket.mark("three")
        await socket.until("mark", 3)

    application.stream = plays_and_clears
    call = twilio.place(form(application))
    await call.ended()
    (socket,) = application.sockets
    assert [mark["mark"]["name"] for mark in socket.all("mark")] == ["one", "two", "three"]
    (span,) = call.record.agent_speech()
    assert span.end_secs - span.start_secs < 0.8
    (cleared,) = call.record.all("clear")
    assert 1_000 < cleared.detail["dropped_ms"] < 2_000
    assert call.record.gaps == []


async def test_an_underrun_is_noted_as_a_gap(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def stumbles(socket: Socket) -> None:
        await socket.play(A_SECOND[:1600])
        seen = len(socket.all("media"))
        await socket.until("media", seen + 15)
        await socket.play(A_SECOND[:1600])
        await socket.mark("end")
        await socket.until("mark")

    application.stream = stumbles
    call = twilio.place(form(application))
    await call.ended()
    (gap,) = call.record.gaps
    assert 0.04 < gap.secs < 0.3


async def test_what_the_person_says_arrives_bit_by_bit(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def plays(phone: Handset) -> None:
        await phone.pause(0.1)
        await phone.play(tone(500, 0.5).tobytes(), RATE, text="a tone")
        phone.hang_up()

    twilio.people["+15550100"] = plays
    call = twilio.place(form(application))
    await call.settled()
    (socket,) = application.sockets
    arrived = b"".join(base64.b64decode(m["media"]["payload"]) for m in socket.all("media"))
    assert encode(tone(500, 0.5)) in arrived
    assert encode(tone(500, 0.5)) in bytes(call.line.spoken if call.line else b"")
    (said,) = call.record.said
    assert (said.text, round(said.end_secs - said.start_secs, 3)) == ("a tone", 0.5)
    assert [message["event"] for message in socket.received][-1] == "stop"
    assert socket.all("stop")[0]["stop"]["callSid"] == call.sid


async def test_noise_is_on_the_line_in_silence_too(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.people["+15550100"] = Person(snr_db=20)
    call = twilio.place(form(application))
    socket = await application.socket()
    await socket.until("media", 5)
    call.hang_up()
    await call.ended()
    samples = np.frombuffer(call.record.caller_audio, dtype="<i2").astype(float)
    level = 20 * np.log10(np.sqrt((samples**2).mean()) / 32_768)
    assert level == pytest.approx(-38, abs=2)


async def test_packets_that_come_unevenly_come_no_later_and_later(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.people["+15550100"] = Person(conditions=LineConditions(jitter_ms=60))
    call = twilio.place(form(application))
    socket = await application.socket()
    arrivals = []
    for number in range(1, 202):
        media = await socket.until("media", number)
        assert media["media"]["chunk"] == str(number), "in order"
        arrivals.append(asyncio.get_running_loop().time())
    pauses = np.diff(arrivals)
    assert pauses.min() < 0.001, "one catches up with the one before"
    assert pauses.max() > 0.03
    assert arrivals[-1] - arrivals[0] == pytest.approx(200 * 0.02, abs=0.061)
    call.hang_up()
    await call.ended()


async def test_keys_arrive_one_by_one(twilio: TwilioEmulator, application: Application) -> None:
    async def presses(phone: Handset) -> None:
        await phone.hears_speech()
        await phone.press("1#")
        phone.hang_up()

    async def plays(socket: Socket) -> None:
        await socket.play(A_SECOND)
        await socket.until("stop")

    application.stream = plays
    twilio.people["+15550100"] = presses
    await twilio.place(form(application)).settled()
    (socket,) = application.sockets
    assert [m["dtmf"]["digit"] for m in socket.all("dtmf")] == ["1", "#"]
    assert {m["dtmf"]["track"] for m in socket.all("dtmf")} == {"inbound_track"}


async def test_a_key_pressed_on_no_stream_reaches_nobody(
    twilio: TwilioEmulator, application: Application
) -> None:
    application.answers["/twiml"] = '<Response><Pause length="1"/></Response>'
    twilio.people["+15550100"] = Person([Press("1")])
    call = twilio.place(form(application))
    await call.ended()
    assert [moment.detail["reached"] for moment in call.record.all("caller.pressed")] == [False]


async def test_a_person_hears_when_the_other_side_is_done(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def listens_and_answers(phone: Handset) -> None:
        await phone.listen_until_silence(0.3)
        await phone.play(tone(500, 0.2).tobytes(), RATE, text="yes")
        await phone.listen_until_silence(0.3)
        phone.hang_up()

    async def speaks_twice(socket: Socket) -> None:
        await socket.play(A_SECOND[:4000])
        await socket.changes.until(lambda: bool(twilio.calls[0].record.said))
        await socket.play(A_SECOND[:4000])
        await socket.until("stop")

    application.stream = speaks_twice
    twilio.people["+15550100"] = listens_and_answers
    call = twilio.place(form(application))
    await call.settled()
    first, second = call.record.agent_speech()
    (said,) = call.record.said
    assert first.end_secs < said.start_secs < said.end_secs <= second.start_secs
    assert len(call.record.all("agent.speaks")) == 2


@pytest.mark.parametrize(
    "message",
    [
        {"event": "media", "media": {"payload": "%%%"}},
        {"event": "media"},
        {"event": "mark", "mark": {}},
        {"event": "start"},
        {"event": "media", "media": {"payload": ""}, "streamSid": "MZother"},
        "not json",
        [1, 2],
        b"binary",
    ],
)
async def test_what_twilio_does_not_understand_ends_the_stream(
    twilio: TwilioEmulator, application: Application, message: Any
) -> None:
    async def says_it(socket: Socket) -> None:
        if isinstance(message, bytes):
            await socket.websocket.send_bytes(message)
        elif isinstance(message, str):
            await socket.websocket.send_text(message)
        elif isinstance(message, list):
            await socket.websocket.send_json(message)
        else:
            await socket.websocket.send_json({"streamSid": socket.stream_sid} | message)
        await socket.until("stop")

    application.stream = says_it
    application.answers["/twiml"] = application.stream_twiml(
        attributes=f'statusCallback="{application.url("/stream-status")}"'
    )
    call = twilio.place(form(application))
    assert await call.settled() == "completed"
    assert [error.code for error in call.record.errors] == [31924]
    events = [seen.form["StreamEvent"] for seen in application.seen("/stream-status")]
    assert events == ["stream-started", "stream-error", "stream-stopped"]
    assert application.seen("/stream-status")[1].form["StreamError"].startswith("31924")


@pytest.mark.parametrize("url", ["{stream}?token=1", "http://127.0.0.1/x", "ws://example.com/x"])
async def test_an_unfit_url_is_a_failed_handshake(
    twilio: TwilioEmulator, application: Application, url: str
) -> None:
    url = url.format(stream=application.stream_url)
    application.answers["/twiml"] = f'<Response><Connect><Stream url="{url}"/></Connect></Response>'
    call = twilio.place(form(application))
    assert await call.ended() == "completed"
    assert [error.code for error in call.record.errors] == [31920]
    assert application.sockets == []


async def test_more_than_ten_minutes_are_dropped_with_an_error(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def floods(socket: Socket) -> None:
        for _ in range(11):
            await socket.play(A_SECOND * 60)
        await socket.mark("end")
        await socket.send("clear")
        await socket.until("mark")

    application.stream = floods
    call = twilio.place(form(application))
    await call.ended()
    assert [error.code for error in call.record.errors] == [31931]


@pytest.mark.real_time
async def test_twenty_calls_at_once_are_all_heard(
    twilio: TwilioEmulator, application: Application
) -> None:
    async def plays(socket: Socket) -> None:
        for start in range(0, len(A_SECOND), 5 * PACKET):
            await socket.play(A_SECOND[start : start + 5 * PACKET])
        await socket.mark("end")
        await socket.until("mark")

    application.stream = plays
    calls = [twilio.place(form(application, To=f"+155501{n:02}")) for n in range(20)]
    for call in calls:
        assert await call.settled() == "completed"
        assert len(call.record.agent_audio) > 2 * RATE
        assert call.record.gaps == []


async def test_a_sentence_cut_short_is_recorded_as_far_as_it_was_said(
    twilio: TwilioEmulator, application: Application
) -> None:
    twilio.people["+15550100"] = Person([Say("This is a rather long sentence about nothing.")])
    call = twilio.place(form(application))
    started = await call.happened("caller.says")
    socket = await application.socket()
    await socket.until("media", 20)
    call.hang_up("api")
    await call.settled()
    (said,) = call.record.said
    assert said.text == started.detail["text"]
    assert 0.2 < said.end_secs - said.start_secs < 1.5
    assert call.record.all("caller.said") == []
    assert call.record.caller_speech()[0].end_secs == said.end_secs
