"""What the things on a timeline are called, and which of them are worth a label."""

import json
from collections.abc import Mapping
from typing import Any

from server.replay.results import Happened

_NAMES = {
    "ringing": "rings",
    "in-progress": "picked up",
    "completed": "call over",
    "no-answer": "no answer",
    "hung_up": "hung up",
    "bot_interrupted": "barge-in",
    "stream.started": "stream opens",
    "stream.stopped": "stream ends",
    "stream.lost": "stream lost",
    "caller.pressed": "key",
    "twilio.says": "Twilio speaks",
    "dial": "transfer",
    "dialled": "transfer ended",
    "callback.lost": "callback lost",
    "setup": "connects",
    "setupComplete": "session opens",
    "closed": "session closes",
    "goAway": "go away",
    "llm_started": "begins to answer",
    "llm_response": "has answered",
    "user_transcription": "transcribed",
    "vad_user_started_speaking": "hears speech",
    "vad_user_stopped_speaking": "hears silence",
    "function_call": "function call",
    "function_call_stopped": "function call ended",
}
# Shown as a mark without a label: they happen often, or say what something else says too.
_QUIET = frozenset(
    {
        *("completed", "stream.started", "stream.stopped", "setup", "setupComplete"),
        *("vad_user_started_speaking", "vad_user_stopped_speaking", "user_transcription"),
    }
)
_QUIET_BEGINNINGS = ("mark", "media", "twiml", "verb", "callback", "answered_by", "queued")
# What went wrong on the way.
_WRONG = ("lost", "error", "drop", "stall", "garbage", "goaway", "go_away", "refused", "failed")


def name_of(event: Happened) -> str:
    """What happened, in a word or two."""
    if event.kind == "caller.pressed":
        return f"key {event.detail.get('key', '')}".strip()
    if event.kind == "hung_up" and event.detail.get("by"):
        return f"hung up by {event.detail['by']}"
    return _NAMES.get(event.kind, event.kind.replace("_", " "))


def call_of(event: Happened) -> str:
    """A function call as it would be written: move_appointment(wish="Friday")."""
    name = event.text or str(event.detail.get("name", "function"))
    args = event.detail.get("args")
    if "(" in name or not isinstance(args, Mapping):
        return name
    return f"{name}({', '.join(f'{key}={_value(value)}' for key, value in args.items())})"


def is_wrong(event: Happened) -> bool:
    """Whether something went wrong here."""
    kind = event.kind.lower()
    return any(word in kind for word in _WRONG) or (kind == "closed" and "code" in event.detail)


def is_quiet(event: Happened) -> bool:
    """Whether it is shown without a label."""
    if is_wrong(event):
        return False
    return event.kind in _QUIET or event.kind.startswith(_QUIET_BEGINNINGS)


def facts_of(event: Happened) -> list[tuple[str, str]]:
    """What else is known of it: names and values."""
    return [
        (str(name), value if isinstance(value, str) else _value(value))
        for name, value in event.detail.items()
    ]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return json.dumps(value, ensure_ascii=False, default=str)
