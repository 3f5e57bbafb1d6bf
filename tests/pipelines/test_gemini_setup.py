"""Setups as they go out: what google-genai sends for the same, and each call's its own."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from google import genai
from google.genai import types
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agent.profile import AgentProfile, VadConfig
from agent.tools.hang_up import hang_up
from pipelines.gemini_client import GeminiClient
from pipelines.gemini_setup import session_setup
from pipelines.tools import Tool, as_tool
from server.emulators.gemini_live.proto_json import camel_case
from tests.pipelines.gemini_wire import Opening, a_wire

MODEL = "gemini-3.8-live"
HANG_UP = as_tool(hang_up)
ODD = 'Say "Grüezi", \\ and 😀.\n\t$name \u2028\x00\x7f</script>'


class Guest(BaseModel):
    """A guest."""

    full_name: str
    likes: list[Literal["fish", "sea_food"]] = []


async def book_table(
    day_of_week: Literal["monday", "tuesday"],
    guests: Annotated[list[Guest], Field(min_length=1, max_length=8)],
    at: int | str = 19,
    note: Annotated[str | None, Field(pattern="^[a-z_]+$", max_length=40)] = None,
    deposit: Annotated[float, Field(ge=0, le=1000)] = 0.5,
) -> str:
    """Book a table.

    Args:
        day_of_week: The weekday, as "monday".
        guests: Who comes.
    """
    return f"{day_of_week}{guests}{at}{note}{deposit}"


async def tell_the_time() -> str:
    """Tell the time: it's five o'clock somewhere."""
    return ""


TOOLS = [HANG_UP, as_tool(book_table), as_tool(tell_the_time)]

sensitivities = st.sampled_from(["HIGH", "LOW", None])
vad_configs = st.builds(
    VadConfig,
    disabled=st.booleans(),
    start_sensitivity=sensitivities,
    end_sensitivity=sensitivities,
    prefix_padding_ms=st.none() | st.integers(0, 5_000),
    silence_duration_ms=st.none() | st.integers(0, 10_000),
)
profiles = st.builds(
    AgentProfile,
    system_prompt=st.text(max_size=40) | st.just(ODD),
    voice=st.sampled_from([None, "Kore", "Pück"]),
    language=st.sampled_from(["en-US", "de", "cmn-Hans-CN"]),
    vad=vad_configs,
)
EVERYTHING = AgentProfile(
    system_prompt=ODD,
    voice="Kore",
    language="es-ES",
    vad=VadConfig(
        disabled=True,
        start_sensitivity="HIGH",
        end_sensitivity="LOW",
        prefix_padding_ms=0,
        silence_duration_ms=700,
    ),
)


def as_sdk_has_it(
    profile: AgentProfile, tools: list[Tool], resume: str | None
) -> types.LiveConnectConfig:
    """The same in google-genai's types."""
    vad = profile.vad
    declarations = [tool.declaration for tool in tools]
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=profile.system_prompt,
        tools=[types.Tool(function_declarations=declarations)] if tools else None,
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(
                prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=profile.voice)
            )
            if profile.voice is not None
            else None,
            language_code=profile.language,
        ),
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=types.AutomaticActivityDetection(
                disabled=True if vad.disabled else None,
                start_of_speech_sensitivity=types.StartSensitivity(
                    f"START_SENSITIVITY_{vad.start_sensitivity}"
                )
                if vad.start_sensitivity is not None
                else None,
                end_of_speech_sensitivity=types.EndSensitivity(
                    f"END_SENSITIVITY_{vad.end_sensitivity}"
                )
                if vad.end_sensitivity is not None
                else None,
                prefix_padding_ms=vad.prefix_padding_ms,
                silence_duration_ms=vad.silence_duration_ms,
            )
        ),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        session_resumption=types.SessionResumptionConfig(handle=resume),
        context_window_compression=types.ContextWindowCompressionConfig(
            sliding_window=types.SlidingWindow()
        ),
    )


def as_documented(value: Any) -> Any:
    """Fields by the names that the API's pages give them; the SDK writes some as in .proto files.

    What a tool calls its own parameters stays as it is.
    """
    if isinstance(value, list):
        return [as_documented(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        camel_case(name): {own: as_documented(item) for own, item in inner.items()}
        if name == "properties"
        else as_documented(inner)
        for name, inner in value.items()
    }


def only_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that names none of its members twice."""
    assert len({name for name, _ in members}) == len(members)
    return dict(members)


@dataclass(frozen=True)
class Both:
    """google-genai's own client and ours, at the same wire."""

    wire: list[Opening]
    sdk: genai.Client
    ours: GeminiClient


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Both]:
    async with a_wire(tmp_path, monkeypatch) as wire:
        options = {"compression": None, "proxy": None}
        sdk = genai.Client(api_key="a-key", http_options={"async_client_args": options})
        yield Both(wire, sdk, GeminiClient("a-key", MODEL))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(profile=EVERYTHING, tools=TOOLS, resume="a-handle")
@example(profile=AgentProfile(system_prompt=""), tools=[], resume=None)
@given(
    profile=profiles,
    tools=st.lists(st.sampled_from(TOOLS), unique_by=lambda tool: tool.name),
    resume=st.none() | st.text(max_size=40),
)
async def test_a_session_is_opened_as_google_genai_opens_it(
    both: Both, profile: AgentProfile, tools: list[Tool], resume: str | None
) -> None:
    both.wire.clear()
    config = as_sdk_has_it(profile, tools, resume)
    async with both.sdk.aio.live.connect(model=MODEL, config=config):
        pass
    async with both.ours.connect(session_setup(profile, tools, resume)):
        pass
    theirs, ours = both.wire
    assert (ours.path, ours.headers) == (theirs.path, theirs.headers)
    assert type(ours.message) is type(theirs.message) is str
    setup = json.loads(ours.message, object_pairs_hook=only_once)
    assert setup == as_documented(json.loads(theirs.message))


def test_each_call_has_its_own_prompt_and_handle() -> None:
    ada = session_setup(AgentProfile(system_prompt="You are Ada."), [HANG_UP], "a-handle")
    bob = session_setup(AgentProfile(system_prompt="You are Bob."), [HANG_UP])
    adas, bobs = (json.loads(call.message("models/m"))["setup"] for call in (ada, bob))
    assert adas["systemInstruction"]["parts"] == [{"text": "You are Ada."}]
    assert bobs["systemInstruction"]["parts"] == [{"text": "You are Bob."}]
    assert adas["sessionResumption"] == {"handle": "a-handle"}
    assert bobs["sessionResumption"] == {}
    assert {name for name in adas if adas[name] != bobs[name]} == {
        "systemInstruction",
        "sessionResumption",
    }


def test_calls_that_differ_in_one_thing_differ_in_their_setup() -> None:
    profiles = [
        AgentProfile(),
        AgentProfile(voice="Kore"),
        AgentProfile(language="es-ES"),
        AgentProfile(vad=VadConfig(silence_duration_ms=700)),
        AgentProfile(vad=VadConfig(disabled=True)),
    ]
    setups = [session_setup(profile, [HANG_UP]) for profile in profiles]
    setups.append(session_setup(AgentProfile(), []))
    assert len({setup.message("models/m") for setup in setups}) == len(setups)


def test_a_setup_says_all_that_the_session_is_to_be() -> None:
    profile = AgentProfile(system_prompt="Be brief.", voice="Kore", language="es-ES")
    setup = session_setup(profile, [HANG_UP], "a-handle")
    assert json.loads(setup.message("models/m")) == {
        "setup": {
            "model": "models/m",
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": {
                    "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
                    "languageCode": "es-ES",
                },
            },
            "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "hang_up",
                            "description": HANG_UP.description,
                            "behavior": "BLOCKING",
                        }
                    ]
                }
            ],
            "sessionResumption": {"handle": "a-handle"},
            "inputAudioTranscription": {},
            "outputAudioTranscription": {},
            "realtimeInputConfig": {"automaticActivityDetection": {}},
            "contextWindowCompression": {"slidingWindow": {}},
        }
    }
