"""What Gemini Live says to a client, as JSON values.

Source: ai.google.dev/api/live, BidiGenerateContentServerMessage.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from server.emulators.gemini_live.steps import FunctionCall

SPEAKS_AT = 24_000  # Hz

Message = dict[str, Any]


def setup_complete(session_id: str) -> Message:
    """The session is open."""
    return {"setupComplete": {"sessionId": session_id}}


def speech(chunks: Sequence[bytes], rate: int = SPEAKS_AT, mime_type: str | None = None) -> Message:
    """PCM16 at `rate` Hz, one part per chunk; `mime_type` is what it is said to be."""
    mime_type = mime_type or f"audio/pcm;rate={rate}"
    parts = [
        {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(chunk).decode()}}
        for chunk in chunks
    ]
    return {"serverContent": {"modelTurn": {"parts": parts}}}


def input_transcription(text: str) -> Message:
    """A piece of what the caller said."""
    return {"serverContent": {"inputTranscription": {"text": text}}}


def output_transcription(text: str) -> Message:
    """A piece of what the model says."""
    return {"serverContent": {"outputTranscription": {"text": text}}}


def interrupted() -> Message:
    """The client spoke: what was generated and not yet played is void."""
    return {"serverContent": {"interrupted": True}}


def generation_complete() -> Message:
    """Everything of this turn was sent."""
    return {"serverContent": {"generationComplete": True}}


def turn_complete(usage: Message) -> Message:
    """The turn is over; with what it cost."""
    return {"serverContent": {"turnComplete": True}, "usageMetadata": usage}


def tool_call(calls: Mapping[str, FunctionCall]) -> Message:
    """Functions to run, by their ids."""
    return {
        "toolCall": {
            "functionCalls": [
                {"id": call_id, "name": call.name, "args": dict(call.args)}
                for call_id, call in calls.items()
            ]
        }
    }


def tool_call_cancellation(ids: Sequence[str]) -> Message:
    """These calls should not run after all."""
    return {"toolCallCancellation": {"ids": list(ids)}}


def go_away(time_left_secs: float) -> Message:
    """The connection ends in so many seconds."""
    return {"goAway": {"timeLeft": f"{time_left_secs:g}s"}}


def resumption_update(handle: str | None, consumed: int | None) -> Message:
    """A new handle; None while the session cannot be resumed."""
    update: Message = {"newHandle": handle, "resumable": True} if handle else {"resumable": False}
    if consumed is not None and handle:
        update["lastConsumedClientMessageIndex"] = str(consumed)
    return {"sessionResumptionUpdate": update}
