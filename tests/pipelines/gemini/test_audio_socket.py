"""Sound's short way to and from the model: over the real client, to the emulated Gemini Live."""

import asyncio
import base64
import gc
import json
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from google.genai import types
from google.genai.errors import APIError
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agent.profile import AgentProfile
from pipelines.gemini import fast_websocket
from pipelines.gemini.audio_socket import AUDIO_TYPE, MOST_AT_ONCE_BYTES, AudioSocket
from pipelines.gemini.client import GeminiClient, ModelSession
from pipelines.gemini.live_config import live_config
from pipelines.gemini.messages import Words, read_content
from pipelines.gemini.websocket_frames import masked_text_frame
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script
from server.emulators.speech import speak

ANSWER = "We are open from nine to five."
SCRIPT = Script.parse(
    {"rules": [{"hears": "*", "say": ANSWER}, {"text_matches": "again", "say": ANSWER}]}
)
CONFIG = live_config(AgentProfile(), [])


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveEmulator]:
    async with GeminiLiveEmulator(SCRIPT, thinking_secs=0.01, pace=0) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator
        assert emulator.errors == []


class Reader:
    """Keeps what a session says, in the order that it came: speech as bytes, all else as it is."""

    def __init__(self, session: ModelSession) -> None:
        self.came: list[bytes | Words | types.LiveServerMessage] = []
        session.listen(self._keep, self._keep)
        self._session = session

    async def until_turn_complete(self) -> None:
        async for message in self._session.receive():
            self.came.append(message)

    @property
    def speech(self) -> bytes:
        return b"".join(one for one in self.came if isinstance(one, bytes))

    @property
    def words(self) -> str:
        return "".join(one.text for one in self.came if isinstance(one, Words))

    async def _keep(self, content: bytes | Words) -> None:
        self.came.append(content)


async def test_speech_and_words_come_by_the_short_way_whole_and_in_order(
    emulator: GeminiLiveEmulator,
) -> None:
    async with GeminiClient("a-key").connect(CONFIG) as session:
        reader = Reader(session)
        await session.send_realtime_input(text="again")
        await reader.until_turn_complete()
    (reply,) = emulator.sessions[0].log.replies
    assert reader.speech == speak(ANSWER, voice=reply.voice, rate=24_000)
    assert " ".join(reader.words.split()) == ANSWER
    messages = [one for one in reader.came if isinstance(one, types.LiveServerMessage)]
    contents = [one.server_content for one in messages if one.server_content]
    assert not any(one.model_turn or one.output_transcription for one in contents)
    spoken = max(i for i, one in enumerate(reader.came) if isinstance(one, bytes))
    complete = next(
        i
        for i, one in enumerate(reader.came)
        if isinstance(one, types.LiveServerMessage)
        and one.server_content
        and one.server_content.generation_complete
    )
    assert spoken < complete


async def test_speech_that_has_come_by_now_goes_on_together_and_past_nothing() -> None:
    chunk = bytes(range(250)) * 4
    many = MOST_AT_ONCE_BYTES // len(chunk) + 3

    async def talk(model: ServerConnection) -> None:
        first = [message(sound(chunk)) for _ in range(3)]
        later = [message(sound(chunk)) for _ in range(many)]
        for one in (*first, words({"text": "and "}), *later, b'{"goAway": {}}'):
            await model.send(one)
        await model.wait_closed()

    came: list[bytes | Words] = []

    async def keep(content: bytes | Words) -> None:
        came.append(content)

    async with serve(talk, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        async with connect(url, compression=None, create_connection=AudioSocket) as socket:
            assert isinstance(socket, AudioSocket)
            socket.listen(keep, keep)
            async with asyncio.timeout(10):
                while len(socket._unread) < 5 + many:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert await socket.recv() == b'{"goAway": {}}'
    before, between, *behind = came
    assert before == chunk * 3
    assert between == Words("and ", by_caller=False)
    assert b"".join(one for one in behind if isinstance(one, bytes)) == chunk * many
    assert max(len(one) for one in behind if isinstance(one, bytes)) < MOST_AT_ONCE_BYTES + 1000
    assert len(behind) == 2


async def nothing(_: Words) -> None:
    pass


async def test_half_a_sample_shifts_nothing_of_what_comes_behind_it() -> None:
    chunk = bytes(range(250)) * 4
    odd = chunk[:-1]

    async def talk(model: ServerConnection) -> None:
        for pcm in (odd, chunk, odd, odd, chunk, chunk):
            await model.send(message(sound(pcm)))
        await model.send(b'{"goAway": {}}')
        await model.wait_closed()

    came: list[bytes] = []

    async def keep(content: bytes) -> None:
        came.append(content)

    async with serve(talk, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        async with connect(url, compression=None, create_connection=AudioSocket) as socket:
            assert isinstance(socket, AudioSocket)
            socket.listen(keep, nothing)
            async with asyncio.timeout(10):
                while len(socket._unread) < 7:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await socket.recv()
    assert came == [odd, chunk + odd, odd, chunk * 2]


async def test_what_is_sent_by_the_short_way_is_what_the_sdk_sends(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = bytes(range(256)) * 2
    sent: list[bytes] = []
    async with GeminiClient("a-key").connect(CONFIG) as session:
        protocol = session.hear.__self__.protocol  # type: ignore[attr-defined]
        really = protocol.send_text

        def keep(data: bytes, *args: Any, **kwargs: Any) -> None:
            sent.append(bytes(data))
            really(data, *args, **kwargs)

        def keep_direct(text: bytes) -> bytes:
            sent.append(text)
            return masked_text_frame(text)

        monkeypatch.setattr(protocol, "send_text", keep)
        monkeypatch.setattr(fast_websocket, "masked_text_frame", keep_direct)
        await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))
        assert session.hear(pcm)
        await session.send_realtime_input(text="again")
        await Reader(session).until_turn_complete()
    by_sdk, by_hand, _ = sent
    assert by_hand == by_sdk
    assert bytes(emulator.sessions[0].log.audio) == pcm * 2


async def test_a_session_that_is_over_hears_nothing_and_says_so_as_the_sdk_does(
    emulator: GeminiLiveEmulator,
) -> None:
    async with GeminiClient("a-key").connect(CONFIG) as session:
        await emulator.sessions[0].drop(1011)
        with pytest.raises(Exception, match="1011"):
            await Reader(session).until_turn_complete()
        assert not session.hear(bytes(640))
        with pytest.raises(ConnectionClosed):
            await session.send_realtime_input(
                audio=types.Blob(data=bytes(640), mime_type=AUDIO_TYPE)
            )


async def test_a_socket_that_does_not_drain_takes_no_more(emulator: GeminiLiveEmulator) -> None:
    async with GeminiClient("a-key").connect(CONFIG) as session:
        socket = session.hear.__self__  # type: ignore[attr-defined]
        socket.pause_writing()
        assert not session.hear(bytes(640))
        socket.resume_writing()
        assert session.hear(bytes(640))


def test_a_session_that_was_left_needs_no_collector_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[weakref.ref[object]] = []

    async def leave_some() -> None:
        async with GeminiLiveEmulator(SCRIPT) as emulator:
            for name, value in emulator.environment().items():
                monkeypatch.setenv(name, value)
            for _ in range(3):
                async with GeminiClient("a-key").connect(CONFIG) as session:
                    left.append(weakref.ref(session.hear.__self__))  # type: ignore[attr-defined]

    gc.collect()
    gc.disable()
    try:
        # The loop that serves calls; its TLS is where the circle is.
        uvloop.run(leave_some())
        assert len(left) == 3
        assert [socket() for socket in left] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
@pytest.mark.parametrize("fault", [ConnectFault(http_status=503), ConnectFault(close=1011)])
def test_of_a_session_that_was_refused_no_tls_waits_for_the_collector(
    monkeypatch: pytest.MonkeyPatch,
    fault: ConnectFault,
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    problems: list[dict[str, Any]] = []

    async def be_refused() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        async with GeminiLiveEmulator(SCRIPT) as emulator:
            emulator.faults.append(fault)
            for name, value in emulator.environment().items():
                monkeypatch.setenv(name, value)
            client = GeminiClient("a-key")
            for _ in range(3):
                with pytest.raises((APIError, InvalidStatus)):
                    await client.connect(CONFIG).__aenter__()
            assert emulator.connects == 3

    gc.collect()
    gc.disable()
    try:
        run(be_refused())
        left = [one for one in gc.get_objects() if type(one) is AudioSocket]
        assert [socket for socket in left if "transport" in vars(socket)] == []
        assert problems == []
    finally:
        gc.enable()


async def test_calls_that_connect_at_once_each_hear_their_own_model(
    emulator: GeminiLiveEmulator,
) -> None:
    client = GeminiClient("a-key")

    async def call(number: int) -> bytes:
        async with client.connect(CONFIG) as session:
            reader = Reader(session)
            assert session.hear(bytes([number]) * 640)
            await session.send_realtime_input(text="again")
            await reader.until_turn_complete()
            return reader.speech

    speeches = await asyncio.gather(*(call(number) for number in range(8)))
    assert len(set(speeches)) == 1
    heard = {bytes(session.log.audio) for session in emulator.sessions}
    assert heard == {bytes([number]) * 640 for number in range(8)}


def message(*parts: dict[str, Any], **content: Any) -> bytes:
    return json.dumps({"serverContent": {"modelTurn": {"parts": list(parts)}, **content}}).encode()


def words(transcription: dict[str, Any], **content: Any) -> bytes:
    said = {"outputTranscription": transcription, **content}
    return json.dumps({"serverContent": said}).encode()


def sound(pcm: bytes, kind: str = "audio/pcm;rate=24000") -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": base64.b64encode(pcm).decode()}}


def test_speech_alone_is_read() -> None:
    assert read_content(message(sound(b"abcd"))) == b"abcd"
    assert read_content(message(sound(b"ab"), sound(b"cd"))) == b"abcd"
    assert read_content(message(sound(b"ab"), sound(b"c"))) == b"abc"
    assert read_content(message(sound(b"a"), sound(b"cd"))) is None, "half a sample is between"
    assert read_content(message(sound(b"abcd")).decode()) == b"abcd"


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_speech_is_the_same_however_it_is_laid_out(
    indent: int | None, separators: tuple[str, str]
) -> None:
    pcm = bytes(range(256)) * 8
    laid_out = json.dumps(
        json.loads(message(sound(pcm))), indent=indent, separators=separators
    ).encode()
    assert read_content(laid_out) == pcm
    assert read_content(b"\n" + laid_out + b"\n") == pcm
    assert read_content(laid_out[:-1]) is None
    assert read_content(laid_out + b"}") is None


@pytest.mark.parametrize(("side", "by_caller"), [("output", False), ("input", True)])
def test_words_alone_are_read(side: str, by_caller: bool) -> None:
    said = {"serverContent": {f"{side}Transcription": {"text": "Good morning. "}}}
    assert read_content(json.dumps(said).encode()) == Words("Good morning. ", by_caller)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not JSON, with inlineData",
        b'"inlineData"',
        message({"text": "inlineData"}),
        message(sound(b"abcd"), {"text": "words"}),
        message(sound(b"abcd") | {"thought": True}),
        message(sound(b"abcd", "image/png")),
        message(sound(b"abcd"), turnComplete=True),
        message({"inlineData": {"mimeType": "audio/pcm", "data": "no base64!"}}),
        json.dumps(json.loads(message(sound(b"abcd"))) | {"usageMetadata": {}}).encode(),
        json.dumps({"serverContent": {"interrupted": True}}).encode(),
        words({"text": "done", "finished": True}),
        words({"text": 7}),
        words({"text": "done"}, turnComplete=True),
        json.dumps(json.loads(words({"text": "done"})) | {"usageMetadata": {}}).encode(),
        b"[" * 100_000,
        b"[]",
    ],
)
def test_whatever_else_is_in_a_message_is_left_to_the_sdk(raw: bytes) -> None:
    assert read_content(raw) is None
