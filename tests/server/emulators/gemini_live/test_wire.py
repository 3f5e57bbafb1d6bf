"""The emulator's messages against recorded ones, both ways, and what it refuses."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.gemini_live.client_messages import check_client_message
from server.emulators.speech import speak
from tests.server.emulators.gemini_live.caller import calling, client_of

WIRE = Path(__file__).parents[3] / "wire" / "gemini"
PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SETUP: dict[str, Any] = {"setup": {"model": "models/gemini-3.8-live"}}


def recorded(side: str) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (WIRE / side).glob("*.json")}


def shape(value: Any) -> Any:
    """Keys and types; a list is the shapes of its items, data (args) is opaque."""
    if isinstance(value, dict):
        return {key: "data" if key == "args" else shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        shapes: list[Any] = []
        for entry in value:
            if shape(entry) not in shapes:
                shapes.append(shape(entry))
        return shapes
    return type(value).__name__


@asynccontextmanager
async def dialled(
    emulator: GeminiLiveEmulator, path: str = PATH, **headers: str
) -> AsyncIterator[ClientConnection]:
    keys = {"x-goog-api-key": "a-key"} if not headers and "?" not in path else headers
    async with connect(
        emulator.url.replace("https", "wss") + path,
        ssl=emulator.client_context(),
        additional_headers=keys,
    ) as websocket:
        yield websocket


async def closed_after(websocket: ClientConnection, *messages: Any) -> tuple[int, str]:
    """The code and reason of the close that follows these messages."""
    for message in messages:
        await websocket.send(message if isinstance(message, str) else json.dumps(message))
    async with asyncio.timeout(10):
        await websocket.wait_closed()
    assert websocket.close_code is not None
    return websocket.close_code, websocket.close_reason or ""


async def test_every_message_it_sends_is_shaped_as_the_recorded_ones() -> None:
    tools = [{"functionDeclarations": [{"name": "wait", "behavior": "BLOCKING"}]}]
    setup = {
        "model": "models/gemini-3.8-live",
        "tools": tools,
        "sessionResumption": {},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
    }
    script = Script.parse(
        {
            "rules": [
                {"hears": "What are your opening hours?", "say": "From nine to five."},
                {"text_contains": "wait", "do": [{"call": {"name": "wait", "args": {"secs": 1}}}]},
                {"text_contains": "leave", "do": [{"go_away": 0.1}]},
            ]
        }
    )
    pcm = speak("What are your opening hours?", rate=16_000) + bytes(32_000)
    produced: list[dict[str, Any]] = []
    for transparent in ({}, {"transparent": True}):
        async with GeminiLiveEmulator(script, pace=0) as emulator, dialled(emulator) as websocket:

            async def until(name: str, websocket: ClientConnection = websocket) -> None:
                while name not in json.dumps(produced[-1:]):
                    raw = await websocket.recv()
                    assert isinstance(raw, bytes)
                    produced.append(json.loads(raw))

            await websocket.send(json.dumps({"setup": setup | {"sessionResumption": transparent}}))
            produced.append({})
            await until("setupComplete")
            blob = {"mimeType": "audio/pcm;rate=16000", "data": _base64(pcm)}
            await websocket.send(json.dumps({"realtimeInput": {"audio": blob}}))
            await until("turnComplete")
            await websocket.send(json.dumps({"realtimeInput": {"text": "wait"}}))
            await until("toolCall")
            await websocket.send(json.dumps({"realtimeInput": {"text": "leave"}}))
            await until("toolCallCancellation")
            await until("interrupted")
            await until("goAway")
    known = [shape(message) for message in recorded("server").values()]
    shapes = [shape(message) for message in produced if message]
    assert [one for one in shapes if one not in known] == []
    assert [one for one in known if one not in shapes] == []
    for message in produced:
        parsed = types.LiveServerMessage.model_validate(message)
        assert parsed.model_dump(exclude_none=True) != {} or message == {}


@pytest.mark.parametrize(
    "name",
    sorted(name for name in recorded("client") if not name.startswith(("setup", "activity"))),
)
@pytest.mark.parametrize("setup", ["setup", "setup_in_proto_names"])
async def test_takes_every_recorded_message(name: str, setup: str) -> None:
    messages = recorded("client")
    async with GeminiLiveEmulator(Script()) as emulator, dialled(emulator) as websocket:
        await websocket.send(json.dumps(messages[setup]))
        await websocket.recv()
        await websocket.send(json.dumps(messages[name]))
        await websocket.send(json.dumps({"realtimeInput": {"text": "last"}}))
        session = await emulator.session()
        await session.until(lambda s: "last" in s.log.texts or not s.is_open)
        assert session.is_open, session.log.closed


async def test_takes_activity_where_detection_is_disabled_and_nowhere_else() -> None:
    messages = recorded("client")
    disabled = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}
    async with GeminiLiveEmulator(Script()) as emulator:
        async with dialled(emulator) as websocket:
            await websocket.send(json.dumps({"setup": SETUP["setup"] | disabled}))
            await websocket.send(json.dumps(messages["activity_start"]))
            await websocket.send(json.dumps(messages["activity_end"]))
            session = await emulator.session(0)
            await session.until(lambda s: s.log.heard)
        async with dialled(emulator) as websocket:
            code, reason = await closed_after(websocket, SETUP, messages["activity_start"])
            assert code == 1007
            assert "activity" in reason


@pytest.mark.parametrize(
    ("setup", "complaint"),
    [
        ({}, "model"),
        ({"model": "gemini-3.8-live"}, "models/"),
        ({"model": 7}, "setup.model"),
        ({"model": "models/m", "voice": "Puck"}, "'voice' at 'setup'"),
        ({"model": "models/m", "generationConfig": {"voice": 1}}, "at 'setup.generationConfig'"),
        ({"model": "models/m", "generationConfig": {"temperature": "hot"}}, "temperature"),
        ({"model": "models/m", "generationConfig": {"responseModalities": ["TEXT"]}}, "modal"),
        ({"model": "models/m", "generationConfig": {"responseModalities": ["SOUND"]}}, "Modal"),
        ({"model": "models/m", "systemInstruction": "Be kind."}, "systemInstruction"),
        ({"model": "models/m", "tools": {"functionDeclarations": []}}, "tools"),
        ({"model": "models/m", "tools": [{"functionDeclarations": [{}]}]}, "name"),
        (
            {
                "model": "models/m",
                "tools": [{"functionDeclarations": [{"name": "f", "behavior": "MAYBE"}]}],
            },
            "Behavior",
        ),
        (
            {
                "model": "models/m",
                "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"kind": "X"}}]}],
            },
            "'kind'",
        ),
        (
            {
                "model": "models/m",
                "realtimeInputConfig": {
                    "automaticActivityDetection": {"startOfSpeechSensitivity": "HIGH"}
                },
            },
            "startOfSpeechSensitivity",
        ),
        ({"model": "models/m", "realtimeInputConfig": {"silenceDurationMs": 5}}, "silenceDuration"),
        ({"model": "models/m", "sessionResumption": {"handle": 5}}, "handle"),
        ({"model": "models/gemini-3.8-live", "proactivity": {"proactiveAudio": False}}, "roactive"),
    ],
)
async def test_refuses_a_wrong_setup(setup: dict[str, Any], complaint: str) -> None:
    async with GeminiLiveEmulator(Script()) as emulator, dialled(emulator) as websocket:
        code, reason = await closed_after(websocket, {"setup": setup})
        assert code == 1007
        assert complaint in reason
        assert emulator.errors == []


@pytest.mark.parametrize(
    "messages",
    [
        [{"realtimeInput": {"text": "hello"}}],
        [SETUP, SETUP],
        [SETUP, "{"],
        [SETUP, "[]"],
        [SETUP, {}],
        [SETUP, {"unknownMessage": {}}],
        [SETUP, {"realtimeInput": {"text": "a"}, "clientContent": {}}],
        [SETUP, {"realtimeInput": {"text": 7}}],
        [SETUP, {"realtimeInput": {"audio": {"mimeType": "audio/mp3", "data": "AAAA"}}}],
        [SETUP, {"realtimeInput": {"audio": {"data": "AAAA"}}}],
        [SETUP, {"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "!"}}}],
        [SETUP, {"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "AAAA"}}}],
        [SETUP, {"toolResponse": {"functionResponses": [{"id": "1", "response": "ok"}]}}],
    ],
)
async def test_refuses_a_wrong_message(messages: list[Any]) -> None:
    async with GeminiLiveEmulator(Script()) as emulator, dialled(emulator) as websocket:
        code, reason = await closed_after(websocket, *messages)
        assert code == 1007
        assert reason


async def test_refuses_a_key_it_does_not_know() -> None:
    async with GeminiLiveEmulator(Script(), api_keys=["good"]) as emulator:
        async with dialled(emulator, PATH + "?key=good") as websocket:
            await websocket.send(json.dumps(SETUP))
            assert "setupComplete" in json.loads(await websocket.recv())
        async with dialled(emulator, PATH + "?key=bad") as websocket:
            code, reason = await closed_after(websocket, SETUP)
            assert (code, reason) == (1007, "API key not valid. Please pass a valid API key.")
        async with dialled(emulator, PATH, other="header") as websocket:
            code, _ = await closed_after(websocket, SETUP)
            assert code == 1008
        with pytest.raises(errors.APIError) as refused:
            async with client_of(emulator, "bad").aio.live.connect(model="gemini-3.8-live"):
                pass
        assert refused.value.code == 1007


async def test_knows_its_models_when_told_them() -> None:
    async with GeminiLiveEmulator(Script()) as emulator:
        emulator.behaviour.models = frozenset({"models/gemini-3.8-live"})
        async with dialled(emulator) as websocket:
            code, reason = await closed_after(websocket, {"setup": {"model": "models/gemini-2"}})
            assert code == 1008
            assert "models/gemini-2" in reason


async def test_serves_the_paths_of_the_api_alone() -> None:
    async with GeminiLiveEmulator(Script()) as emulator:
        async with dialled(emulator, PATH.replace("v1beta", "v1alpha")) as websocket:
            await websocket.send(json.dumps(SETUP))
            assert "setupComplete" in json.loads(await websocket.recv())
        with pytest.raises(InvalidStatus):
            async with dialled(emulator, "/ws/something.else"):
                pass
        assert emulator.connects == 1


async def test_is_trusted_by_its_authority_alone() -> None:
    async with GeminiLiveEmulator(Script()) as emulator:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(emulator.url.replace("https", "wss") + PATH):
                pass
        assert emulator.ca_file.read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert "PRIVATE" not in emulator.ca_file.read_text()
        folder = emulator.ca_file.parent
    assert not folder.exists()


async def test_the_sdk_finds_it_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script.parse({"rules": [{"text_contains": "hi", "say": "Hello."}]})
    async with GeminiLiveEmulator(script, pace=0) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        client = genai.Client(api_key="a-key")
        config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
        async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:
            await session.send_realtime_input(text="hi")
            assert [m async for m in session.receive()][-1].server_content.turn_complete


async def test_the_context_can_be_updated_on_the_way() -> None:
    script = Script.parse({"rules": [{"text_contains": "go", "call": "added"}]})
    async with GeminiLiveEmulator(script, pace=0) as emulator, calling(emulator) as caller:
        await caller.session.send_context_update(
            system_instruction="Be brief.",
            tools=[types.Tool(function_declarations=[types.FunctionDeclaration(name="added")])],
        )
        await caller.ask("Go!")
        await caller.until(lambda c: c.calls)
        assert caller.calls[0].name == "added"
        assert emulator.errors == []


def test_names_come_in_both_spellings_but_not_twice() -> None:
    kind, fields = check_client_message({"client_content": {"turn_complete": True}})
    assert (kind, fields) == ("clientContent", {"turnComplete": True})
    with pytest.raises(ValueError, match="twice"):
        check_client_message({"clientContent": {"turnComplete": True, "turn_complete": True}})


def test_null_is_absent_and_numbers_may_be_strings() -> None:
    config = {"temperature": None, "maxOutputTokens": "100", "topK": 40}
    _, fields = check_client_message({"setup": {"generationConfig": config}})
    assert fields["generationConfig"] == {"maxOutputTokens": 100, "topK": 40.0}


def _base64(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()
