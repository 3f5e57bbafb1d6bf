"""Builds the `LiveConnectConfig` of a session from the agent's profile and tools.

Prompt and tools are sent here, at connect, and never later.
Source: https://ai.google.dev/api/live#BidiGenerateContentSetup
"""

from collections.abc import Sequence

from google.genai import types

from agent.profile import AgentProfile, VadConfig
from pipelines.gemini.tools import Tool

# What stays of a conversation when its window is compressed, at twice as much: some seven minutes
# of both sides' audio, 30 tokens a second.
TARGET_TOKENS = 12_800


def live_config(
    profile: AgentProfile, tools: Sequence[Tool], resume: str | None = None
) -> types.LiveConnectConfig:
    """The config of a session; `resume` is the handle of the session it continues."""
    declarations = [tool.declaration for tool in tools]
    return types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction=profile.system_prompt,
        tools=[types.Tool(function_declarations=declarations)] if declarations else None,
        speech_config=types.SpeechConfig(
            voice_config=_voice(profile.voice), language_code=profile.language
        ),
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=_activity_detection(profile.vad)
        ),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        session_resumption=types.SessionResumptionConfig(handle=resume),
        # Without it an audio session ends after 15 minutes, and answers come later and later.
        context_window_compression=types.ContextWindowCompressionConfig(
            trigger_tokens=TARGET_TOKENS * 2 + _tokens(profile.system_prompt),
            sliding_window=types.SlidingWindow(
                target_tokens=TARGET_TOKENS + _tokens(profile.system_prompt)
            ),
        ),
    )


def _tokens(text: str) -> int:
    """An upper estimate of what a text takes of the window."""
    return len(text) // 3


def warm_up() -> None:
    """Make Pydantic build google-genai's message types now, which takes 80 ms.

    Otherwise they are built in the first call, whose audio would stop meanwhile.
    """
    types.LiveConnectParameters(config=live_config(AgentProfile(), []))
    says = types.LiveServerContent(model_turn=types.Content(parts=[types.Part(text="")]))
    types.LiveServerMessage(server_content=says)
    types.LiveSendRealtimeInputParameters(text="")


def _voice(name: str | None) -> types.VoiceConfig | None:
    if name is None:
        return None
    return types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=name))


def _activity_detection(vad: VadConfig) -> types.AutomaticActivityDetection:
    start, end = vad.start_sensitivity, vad.end_sensitivity
    return types.AutomaticActivityDetection(
        disabled=vad.disabled or None,
        start_of_speech_sensitivity=start and types.StartSensitivity(f"START_SENSITIVITY_{start}"),
        end_of_speech_sensitivity=end and types.EndSensitivity(f"END_SENSITIVITY_{end}"),
        prefix_padding_ms=vad.prefix_padding_ms,
        silence_duration_ms=vad.silence_duration_ms,
    )
