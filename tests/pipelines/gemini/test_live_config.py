"""Setups as they go out: all that a session is to be, and each call's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.profile import AgentProfile, VadConfig
from agent.tools.hang_up import hang_up
from pipelines.gemini.client import GeminiClient
from pipelines.gemini.live_config import TARGET_TOKENS, live_config
from pipelines.gemini.tools import Tool, as_tool
from server.emulators.gemini_live.proto_json import camel_case
from tests.pipelines.gemini_wire import a_wire

HANG_UP = as_tool(hang_up)
ODD = 'Say "Grüezi", \\ and 😀.\n\t$name \u2028\x00\x7f</script>'
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


def compression(prompt: str) -> dict[str, Any]:
    """The window that is asked for: some minutes of audio beside the prompt."""
    prompt_tokens = len(prompt) // 3
    return {
        "triggerTokens": 2 * TARGET_TOKENS + prompt_tokens,
        "slidingWindow": {"targetTokens": TARGET_TOKENS + prompt_tokens},
    }


Call = tuple[AgentProfile, list[Tool], str | None]


async def setups(folder: Path, environment: pytest.MonkeyPatch, *calls: Call) -> list[Any]:
    """What the model reads of the setup of each call, one after the other."""
    async with a_wire(folder, environment) as wire:
        client = GeminiClient("a-key", "models/m")
        for profile, tools, resume in calls:
            async with client.connect(live_config(profile, tools, resume)):
                pass
    return [as_documented(json.loads(opening.message)["setup"]) for opening in wire]


def as_documented(value: Any) -> Any:
    """Fields by the names that the API's pages give them; the SDK writes some in snake_case."""
    if isinstance(value, list):
        return [as_documented(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {camel_case(name): as_documented(inner) for name, inner in value.items()}


async def test_a_setup_says_all_that_the_session_is_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (setup,) = await setups(tmp_path, monkeypatch, (EVERYTHING, [HANG_UP], "a-handle"))
    assert setup == {
        "model": "models/m",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
                "languageCode": "es-ES",
            },
        },
        "systemInstruction": {"role": "user", "parts": [{"text": ODD}]},
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
        "realtimeInputConfig": {
            "automaticActivityDetection": {
                "disabled": True,
                "startOfSpeechSensitivity": "START_SENSITIVITY_HIGH",
                "endOfSpeechSensitivity": "END_SENSITIVITY_LOW",
                "prefixPaddingMs": 0,
                "silenceDurationMs": 700,
            }
        },
        "contextWindowCompression": compression(ODD),
    }


async def test_a_setup_is_silent_on_what_a_profile_leaves_to_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = AgentProfile(system_prompt="Be brief.", language="de")
    (setup,) = await setups(tmp_path, monkeypatch, (profile, [], None))
    assert setup == {
        "model": "models/m",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"languageCode": "de"},
        },
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "sessionResumption": {},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        "realtimeInputConfig": {"automaticActivityDetection": {}},
        "contextWindowCompression": compression("Be brief."),
    }


async def test_each_call_has_its_own_prompt_and_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = AgentProfile(system_prompt="You are Ada."), [HANG_UP], "a-handle"
    bob = AgentProfile(system_prompt="You are Bob."), [HANG_UP], None
    adas, bobs, again = await setups(tmp_path, monkeypatch, ada, bob, ada)
    assert adas == again
    assert adas["systemInstruction"]["parts"] == [{"text": "You are Ada."}]
    assert bobs["systemInstruction"]["parts"] == [{"text": "You are Bob."}]
    assert {name for name in adas if adas[name] != bobs[name]} == {
        "systemInstruction",
        "sessionResumption",
    }


# In a process of its own: what is built once stays built.
AFTER_WARMING_UP = """
from google.genai import types
from pipelines.gemini.live_config import warm_up

used = ["LiveConnectConfig", "LiveConnectParameters", "Content", "Part", "LiveServerMessage",
        "LiveServerContent", "LiveSendRealtimeInputParameters"]
for late in (True, False):
    assert [name for name in used if getattr(types, name).__pydantic_complete__ == late] == []
    warm_up()
"""


def test_the_sdks_types_are_built_before_the_first_call() -> None:
    subprocess.run([sys.executable, "-c", AFTER_WARMING_UP], check=True)
