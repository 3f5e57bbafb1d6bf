"""An agent's profile and tools in Gemini Live's own types: the setup of every session of a call.

Prompt and tools are given here, at connect, and never later.
Source: https://ai.google.dev/api/live#BidiGenerateContentSetup
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from google.genai import types

from agent.profile import AgentProfile, Sensitivity, VadConfig
from pipelines.tools import Tool

_Level = TypeVar("_Level")

_START: dict[Sensitivity, types.StartSensitivity] = {
    "HIGH": types.StartSensitivity.START_SENSITIVITY_HIGH,
    "LOW": types.StartSensitivity.START_SENSITIVITY_LOW,
}
_END: dict[Sensitivity, types.EndSensitivity] = {
    "HIGH": types.EndSensitivity.END_SENSITIVITY_HIGH,
    "LOW": types.EndSensitivity.END_SENSITIVITY_LOW,
}


def live_config(
    profile: AgentProfile, tools: Sequence[Tool], resume: str | None = None
) -> types.LiveConnectConfig:
    """The setup for a session; `resume` is the handle of the one it continues."""
    alike = _alike(profile.voice, profile.language, profile.vad, tuple(tools))
    resumption = _FRESH if resume is None else types.SessionResumptionConfig(handle=resume)
    own = {"system_instruction": profile.system_prompt, "session_resumption": resumption}
    return alike.model_copy(update=own)


# What many calls have alike is made once: the SDK's types look at each of their fields.
_FRESH = types.SessionResumptionConfig()
_TRANSCRIBED = types.AudioTranscriptionConfig()
# Without it an audio session ends after 15 minutes.
_WITHOUT_END = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())


@lru_cache
def _alike(
    voice: str | None, language: str, vad: VadConfig, tools: tuple[Tool, ...]
) -> types.LiveConnectConfig:
    declarations = [tool.declaration for tool in tools]
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        tools=[types.Tool(function_declarations=declarations)] if declarations else None,
        speech_config=types.SpeechConfig(voice_config=_voice(voice), language_code=language),
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=_activity_detection(vad)
        ),
        input_audio_transcription=_TRANSCRIBED,
        output_audio_transcription=_TRANSCRIBED,
        context_window_compression=_WITHOUT_END,
    )


def _voice(name: str | None) -> types.VoiceConfig | None:
    if name is None:
        return None
    return types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=name))


def _activity_detection(vad: VadConfig) -> types.AutomaticActivityDetection:
    return types.AutomaticActivityDetection(
        disabled=True if vad.disabled else None,
        start_of_speech_sensitivity=_sensitivity(_START, vad.start_sensitivity),
        end_of_speech_sensitivity=_sensitivity(_END, vad.end_sensitivity),
        prefix_padding_ms=vad.prefix_padding_ms,
        silence_duration_ms=vad.silence_duration_ms,
    )


def _sensitivity(table: dict[Sensitivity, _Level], key: Sensitivity | None) -> _Level | None:
    return None if key is None else table[key]
