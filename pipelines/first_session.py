"""A session before anybody's: google-genai builds its checks of a message when it first needs them.

That takes tens of milliseconds, in which no call is heard: so they are built before the first one.
"""

from google.genai import types

from pipelines.definition import PipelineDefinition
from pipelines.gemini_setup import live_config

# One of each that the model sends, or is sent, by way of the SDK.
_SAYS = {
    "server_content": {"turn_complete": True, "interrupted": True},
    "tool_call": {"function_calls": [{"id": "1", "name": "none", "args": {}}]},
    "usage_metadata": {"prompt_tokens_details": [{"modality": "AUDIO", "token_count": 1}]},
    "session_resumption_update": {"new_handle": "none", "resumable": True},
    "go_away": {"time_left": "1s"},
}
_HEARS = {"text": "none"}


def rehearse(definition: PipelineDefinition) -> None:
    """Set a session of `definition` up, and read and write its messages; nothing is sent."""
    config = live_config(definition.profile, definition.tools)
    types.LiveConnectParameters(model="none", config=config).model_dump(exclude_none=True)
    types.LiveServerMessage.model_validate(_SAYS).model_dump()
    types.LiveSendRealtimeInputParameters.model_validate(_HEARS).model_dump()
    types.FunctionResponse(id="1", name="none", response={}).model_dump()
    types.Content(role="user", parts=[types.Part(text="none")]).model_dump()
