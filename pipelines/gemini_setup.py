"""The first message of every session of a call: an agent's profile and tools, as they go out.

Prompt and tools are given here, at connect, and never later. It is in the wire's own form, because
google-genai would check and convert each session's anew.
Source: https://ai.google.dev/api/live#BidiGenerateContentSetup
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agent.profile import AgentProfile, VadConfig
from pipelines.tools import Tool


@dataclass(frozen=True, slots=True)
class Setup:
    """What a session is to be, whichever model it is of."""

    system_prompt: str
    # The handle of the session that this one continues; None for one from scratch.
    resume: str | None
    # What many calls have alike: members of a JSON object, with commas between.
    alike: str

    def message(self, model: str) -> str:
        """The setup of a session of `model`, named as `models/…`: one JSON text."""
        own = {
            "model": model,
            "systemInstruction": {"role": "user", "parts": [{"text": self.system_prompt}]},
            "sessionResumption": {} if self.resume is None else {"handle": self.resume},
        }
        return f'{{"setup": {{{_members(own)}, {self.alike}}}}}'


def session_setup(profile: AgentProfile, tools: Sequence[Tool], resume: str | None = None) -> Setup:
    """The setup for a session; `resume` is the handle of the one it continues."""
    alike = _alike(profile.voice, profile.language, profile.vad, tuple(tools))
    return Setup(profile.system_prompt, resume, alike)


@lru_cache
def _alike(voice: str | None, language: str, vad: VadConfig, tools: tuple[Tool, ...]) -> str:
    setup: dict[str, Any] = {
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": _speech(voice, language),
        },
        "realtimeInputConfig": {"automaticActivityDetection": _activity_detection(vad)},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        # Without it an audio session ends after 15 minutes.
        "contextWindowCompression": {"slidingWindow": {}},
    }
    if tools:
        setup["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
    return _members(setup)


def _speech(voice: str | None, language: str) -> dict[str, Any]:
    speech: dict[str, Any] = {"languageCode": language}
    if voice is not None:
        speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": voice}}
    return speech


def _activity_detection(vad: VadConfig) -> dict[str, Any]:
    start, end = vad.start_sensitivity, vad.end_sensitivity
    fields = {
        "disabled": vad.disabled or None,
        "startOfSpeechSensitivity": start and f"START_SENSITIVITY_{start}",
        "endOfSpeechSensitivity": end and f"END_SENSITIVITY_{end}",
        "prefixPaddingMs": vad.prefix_padding_ms,
        "silenceDurationMs": vad.silence_duration_ms,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _declaration(tool: Tool) -> dict[str, Any]:
    return tool.declaration.model_dump(mode="json", by_alias=True, exclude_none=True)


def _members(fields: dict[str, Any]) -> str:
    return json.dumps(fields)[1:-1]
