"""Both vendors of a load, on the wire: what they take, and what they call nonsense."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidMessage

from pipelines.rates import GEMINI_HEARS_AT as HEARS_AT
from pipelines.rates import GEMINI_SPEAKS_AT as MODEL_SPEAKS_AT
from server.bench.load.gemini import LoadGemini
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import Ear, Marker, burst
from server.bench.load.pacer import Pacer
from server.bench.load.phone import LISTENS_FIRST_SECS, LoadPhone
from server.bench.load.sounds import speech
from server.bench.load.trail import Sent
from server.emulators.twilio.line import Line
from server.emulators.twilio.record import CallRecord
from server.emulators.twilio.signature import HEADER, sign
from server.emulators.twilio.twiml import Stream
from server.emulators.twilio.waiting import Changes

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=any"


@pytest.fixture
async def pacer() -> AsyncIterator[Pacer]:
    with Pacer() as pacer:
        yield pacer


@pytest.fixture
async def gemini(pacer: Pacer) -> AsyncIterator[LoadGemini]:
    call = LoadedCall(5, "+15550000005")
    async with LoadGemini(pacer, {5: call}).serving() as gemini:
        yield gemini


def session(gemini: LoadGemini, path: str = PATH) -> connect:
    environment = gemini.environment()
    tls = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    return connect(environment["GOOGLE_GEMINI_BASE_URL"].replace("http", "ws") + path, ssl=tls)


async def set_up(socket: ClientConnection) -> None:
    await socket.send(json.dumps({"setup": {"model": "models/any"}}))
    assert "setupComplete" in json.loads(await socket.recv())


async def read_on(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


def marked(index: int) -> bytes:
    """100 ms at 16 kHz that begin with a burst."""
    head = burst(Marker(index, 0), HEARS_AT)
    return head.tobytes() + speech(HEARS_AT)[: HEARS_AT * 8 // 100].tobytes()


def by_sdk(pcm: bytes) -> str:
    sound = base64.urlsafe_b64encode(pcm).decode()
    return json.dumps(
        {"realtime_input": {"audio": {"data": sound, "mime_type": "audio/pcm;rate=16000"}}}
    )


def by_hand(pcm: bytes) -> str:
    sound = base64.b64encode(pcm).decode()
    return f'{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate=16000","data":"{sound}"}}}}}}'


@pytest.mark.parametrize("write", [by_sdk, by_hand])
async def test_a_session_speaks_once_it_heard_whose_it_is(
    gemini: LoadGemini, write: Callable[[bytes], str]
) -> None:
    call = gemini.calls[5]
    ear, markers = Ear(MODEL_SPEAKS_AT), []
    async with session(gemini) as socket:
        await set_up(socket)
        call.up.send(Sent(0, 0.0, 0.0, begins_reply=False))
        await socket.send(write(marked(5)))
        kinds: set[str] = set()
        while "turnComplete" not in kinds:
            content = json.loads(await asyncio.wait_for(socket.recv(), 10))
            kinds |= content.keys() | content.get("serverContent", {}).keys()
            for part in content.get("serverContent", {}).get("modelTurn", {}).get("parts", ()):
                heard = ear.hear(base64.b64decode(part["inlineData"]["data"]), 0.0)
                markers += [heard.marker] if heard else []
    assert [one.sent.sequence for one in call.up.arrivals] == [0]
    assert call.up.rate == HEARS_AT
    assert markers == [Marker(5, number) for number in range(4)]
    assert ear.samples == MODEL_SPEAKS_AT * 192 // 100
    assert {"outputTranscription", "generationComplete", "usageMetadata"} <= kinds
    assert "sessionResumptionUpdate" in kinds
    assert gemini.problems == []


async def test_a_session_that_is_asked_to_speak_first_greets(gemini: LoadGemini) -> None:
    async with session(gemini) as socket:
        await set_up(socket)
        await socket.send(json.dumps({"realtime_input": {"text": "Greet the caller."}}))
        first = json.loads(await asyncio.wait_for(socket.recv(), 10))
        assert "outputTranscription" in first["serverContent"]
        while b"turnComplete" not in await asyncio.wait_for(socket.recv(decode=False), 10):
            pass
    assert gemini.problems == []


@pytest.mark.parametrize(
    ("sends", "says"),
    [
        ([{"realtimeInput": {"text": "?"}}], "the first message was no setup"),
        ([{"setup": {}}, "{"], "a message made no sense"),
        ([{"setup": {}}, by_hand(marked(6))], "the first marker that came is nobody's"),
        ([{"setup": {}}, by_hand(b"odd" * 101)], "a message made no sense"),
    ],
    ids=["no setup", "no JSON", "nobody's", "half a sample"],
)
async def test_what_a_real_one_would_not_take_is_a_problem(
    gemini: LoadGemini, sends: list[Any], says: str
) -> None:
    async with session(gemini) as socket:
        for message in sends:
            await socket.send(message if isinstance(message, str) else json.dumps(message))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(read_on(socket), 10)
    (problem,) = gemini.problems
    assert says in problem


@pytest.mark.parametrize("path", ["/elsewhere?key=any", PATH.partition("?")[0]])
async def test_another_path_or_no_key_is_refused(gemini: LoadGemini, path: str) -> None:
    with pytest.raises((InvalidMessage, ConnectionError)):
        await session(gemini, path)
    assert "without a key" in gemini.problems[0]


async def test_a_second_session_of_a_call_is_a_problem(gemini: LoadGemini) -> None:
    for _ in range(2):
        async with session(gemini) as socket:
            await set_up(socket)
            await socket.send(by_hand(marked(5)))
            await asyncio.wait_for(socket.recv(), 10)
    assert gemini.calls[5].problems == ["its session with the model was opened again"]


class Application:
    """What Twilio connects to: keeps what it is sent, and says what it is told to say."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.signature: str | None = None
        self.socket: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.signature = socket.request.headers[HEADER]
        self.socket.set_result(socket)
        async for text in socket:
            self.messages.append(json.loads(text))

    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]

    async def until(self, event: str, number: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.events().count(event) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


Ringing = tuple[LoadPhone, Application, asyncio.Task[None], LoadedCall]


@pytest.fixture
async def ringing(pacer: Pacer) -> AsyncIterator[Ringing]:
    """A phone that is answered, the application that it talks with, and its call."""
    call = LoadedCall(5, "+15550000005")
    application = Application()
    async with serve(application, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/media"
        phone = LoadPhone(
            call,
            pacer,
            Stream(url=url, parameters={"token": "t"}),
            Line(Changes()),
            CallRecord(lambda _: None),
            account_sid="AC1",
            call_sid="CA1",
            auth_token="secret",
            tell=lambda _event, _form: None,
        )
        running = asyncio.create_task(phone.run())
        await application.until("start")
        assert application.signature == sign("secret", url)
        yield phone, application, running, call
        running.cancel()
        await asyncio.wait({running})


def media(phone: LoadPhone, ms: int) -> str:
    payload = base64.b64encode(b"\xff" * (8 * ms)).decode()
    return json.dumps({"event": "media", "streamSid": phone.sid, "media": {"payload": payload}})


def mark(phone: LoadPhone, name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": phone.sid, "mark": {"name": name}})


async def test_a_phone_says_what_twilio_says(ringing: Ringing) -> None:
    phone, application, running, call = ringing
    await application.until("media", int(LISTENS_FIRST_SECS * 50) + 3)
    running.cancel()
    await application.until("stop")
    assert application.events()[:2] == ["connected", "start"]
    start = application.messages[1]
    assert start["start"]["customParameters"] == {"token": "t"}
    assert start["start"]["streamSid"] == start["streamSid"] == phone.sid
    packets = [one["media"] for one in application.messages if one["event"] == "media"]
    assert [int(one["timestamp"]) for one in packets[:3]] == [20, 40, 60]
    assert all(len(base64.b64decode(one["payload"])) == 160 for one in packets)
    assert [sent.sequence for sent in call.up.waiting()] == [0]
    numbers = [int(one["sequenceNumber"]) for one in application.messages[1:]]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_mark_is_echoed_when_playback_reaches_it(ringing: Ringing) -> None:
    phone, application, _, _ = ringing
    socket = await application.socket
    await socket.send(mark(phone, "at once"))
    await application.until("mark")
    await socket.send(media(phone, 200))
    await socket.send(mark(phone, "later"))
    before = application.events().count("media")
    await application.until("mark", 2)
    echoed = [one["mark"]["name"] for one in application.messages if one["event"] == "mark"]
    assert echoed == ["at once", "later"]
    # Some of the ten packets that 200 ms last have gone by, whatever the machine was doing.
    assert application.events().count("media") - before >= 5


async def test_a_clear_echoes_what_waits(ringing: Ringing) -> None:
    phone, application, _, call = ringing
    socket = await application.socket
    await socket.send(media(phone, 60_000))
    await socket.send(mark(phone, "far away"))
    await socket.send(json.dumps({"event": "clear", "streamSid": phone.sid}))
    await application.until("mark")
    assert call.problems == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"event":"media","streamSid":"MZ0","media":{"payload":""}}', "for another stream"),
        ('{"event":"dial","streamSid":"SID"}', "there is no event 'dial'"),
        ('"SID"{', "made no sense"),
    ],
)
async def test_what_twilio_would_not_take_ends_the_stream(
    ringing: Ringing, text: str, says: str
) -> None:
    phone, application, running, call = ringing
    await (await application.socket).send(text.replace("SID", phone.sid))
    await asyncio.wait_for(running, 10)
    assert says in call.problems[0]
    assert says in call.problems[1]
