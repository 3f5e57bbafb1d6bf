"""A session before anybody's: google-genai builds its checks of a message when it first needs them.

That takes tens of milliseconds, in which no call is heard: so they are built before the first one.
"""

from google.genai import types

from pipelines.definition import PipelineDefinition
from pipelines.gemini_setup import session_setup

# One of each that the model sends, or is sent, by way of the SDK.
_SAYS = {
    "server_content": {
        "model_turn": {"parts": [{"text": "none"}]},
        "turn_complete": True,
        "interrupted": True,
    },
    "tool_call": {"function_calls": [{"id": "1", "name": "none", "args": {}}]},
    "usage_metadata": {"prompt_tokens_details": [{"modality": "AUDIO", "token_count": 1}]},
    "session_resumption_update": {"new_handle": "none", "resumable": True},
    "go_away": {"time_left": "1s"},
}
_HEARS = {"text": "none"}


def rehearse(definition: PipelineDefinition) -> None:
    """Make a setup of `definition`, and read and write messages; nothing is sent."""
    session_setup(definition.profile, definition.tools).message("none")
    types.LiveServerMessage.model_validate(_SAYS).model_dump()
    types.LiveSendRealtimeInputParameters.model_validate(_HEARS).model_dump()
    types.FunctionResponse(id="1", name="none", response={}).model_dump()
