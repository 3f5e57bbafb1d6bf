"""Setups of sessions that calls share parts of: none knows what another call is about."""

from google.genai import types

from agent.profile import AgentProfile, VadConfig
from agent.tools.hang_up import hang_up
from pipelines.gemini_setup import live_config
from pipelines.tools import as_tool

HANG_UP = as_tool(hang_up)


def test_each_call_has_its_own_prompt_and_handle() -> None:
    ada = live_config(AgentProfile(system_prompt="You are Ada."), [HANG_UP], "a-handle")
    bob = live_config(AgentProfile(system_prompt="You are Bob."), [HANG_UP])
    ada.system_instruction = types.Content(parts=[types.Part(text="You are Ada.")])  # as the SDK
    assert bob.system_instruction == "You are Bob."
    assert bob.session_resumption == types.SessionResumptionConfig(handle=None)
    assert ada.session_resumption == types.SessionResumptionConfig(handle="a-handle")
    again = live_config(AgentProfile(system_prompt="You are Ada."), [HANG_UP])
    assert again.system_instruction == "You are Ada."


def test_calls_that_differ_in_one_thing_differ_in_their_setup() -> None:
    profiles = [
        AgentProfile(),
        AgentProfile(voice="Kore"),
        AgentProfile(language="es-ES"),
        AgentProfile(vad=VadConfig(silence_duration_ms=700)),
        AgentProfile(vad=VadConfig(disabled=True)),
    ]
    setups = [live_config(profile, [HANG_UP]) for profile in profiles]
    setups.append(live_config(AgentProfile(), []))
    written = {setup.model_dump_json(exclude_none=True) for setup in setups}
    assert len(written) == len(setups)


def test_a_setup_says_all_that_the_session_is_to_be() -> None:
    profile = AgentProfile(system_prompt="Be brief.", voice="Kore", language="es-ES")
    assert live_config(profile, [HANG_UP], "a-handle") == types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        system_instruction="Be brief.",
        tools=[types.Tool(function_declarations=[HANG_UP.declaration])],
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(
                prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore")
            ),
            language_code="es-ES",
        ),
        realtime_input_config=types.RealtimeInputConfig(
            automatic_activity_detection=types.AutomaticActivityDetection()
        ),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        session_resumption=types.SessionResumptionConfig(handle="a-handle"),
        context_window_compression=types.ContextWindowCompressionConfig(
            sliding_window=types.SlidingWindow()
        ),
    )
