"""Turns what both emulators notice into the lines of a conversation, for a person to read."""

import json
from collections.abc import Callable
from typing import Any

from server.emulators.gemini_live import Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.call_state import CallState
from server.emulators.twilio.record import Moment

Tell = Callable[[str, str], None]


class ConversationLines:
    """`phone` and `model` are told of events; `tell(who, what)` gets each line as it is spoken."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._answered = False
        # What was made ready while the phone rang: nobody hears it before the answer.
        self._prepared: list[str] = []

    def phone(self, _: EmulatedCall, moment: Moment) -> None:
        """Something happened at the phone."""
        match moment.kind:
            case "ringing":
                self._tell("phone", "rings")
            case "in-progress":
                self._tell("phone", "is picked up")
                self._answered = True
                for words in self._prepared:
                    self._tell("agent", words)
            case "caller.says":
                self._tell("caller", str(moment.detail["text"]) or "(a recording)")
            case "caller.pressed":
                self._tell("caller", f"presses {moment.detail['key']}")
            case "clear":
                self._tell("server", "barge-in: what was not heard yet is taken back")
            case "completed":
                self._tell("phone", "the line is closed")
            case "error":
                self._tell("twilio", f"error {moment.detail['code']}: {moment.detail['message']}")
            case "busy" | "no-answer" | "canceled" | "failed":
                self._tell("phone", moment.kind.replace("-", " "))
        if moment.kind in list(CallState) and CallState(moment.kind).is_over:
            self._answered = False
            self._prepared.clear()

    def model(self, _: Session, event: Event) -> None:
        """Something happened in a session of the model."""
        if event.kind == "says" and self._answered:
            self._tell("agent", str(event.message))
        elif event.kind == "says":
            self._prepared.append(str(event.message))
        elif event.kind == "toolCall":
            for called in event.message["functionCalls"]:
                self._tell("tool", f"{called['name']}({_arguments(called['args'])})")


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
