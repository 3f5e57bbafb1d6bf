"""Turns what both emulators notice into the lines of a conversation, for a person to read.

As soon as two calls are live at once, each line begins with the number of its call: `[2] Hello!`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from server.emulators.gemini_live import Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.call_state import CallState
from server.emulators.twilio.record import Moment

Tell = Callable[[str, str], None]


@dataclass(eq=False)
class _Talk:
    """A call that is live, and the model's session that talks in it, once one is known."""

    number: int
    answered: bool = False
    is_marked: bool = False
    session: Session | None = None
    # What was made ready while the phone rang: nobody hears it before the answer.
    prepared: list[str] = field(default_factory=list)


class ConversationLines:
    """`phone` and `model` are told of events; `tell(who, what)` gets each line as it is spoken.

    Nothing on the wire says which call a session of the model is for. The first session without a
    call is taken for the next call's, and one that goes on with another for that one's.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._count = 0
        self._talks: dict[str, _Talk] = {}
        self._ended: dict[str, _Talk] = {}
        self._without_call: dict[Session, list[str]] = {}
        self._had_call: set[int] = set()

    def phone(self, call: EmulatedCall, moment: Moment) -> None:
        """Something happened at the phone."""
        talk = self._talks.get(call.sid) or self._ended.get(call.sid) or self._begin(call)
        match moment.kind:
            case "ringing":
                self._say(talk, "phone", "rings")
            case "in-progress":
                self._say(talk, "phone", "is picked up")
                talk.answered = True
                for words in talk.prepared:
                    self._say(talk, "agent", words)
            case "caller.says":
                self._say(talk, "caller", str(moment.detail["text"]) or "(a recording)")
            case "caller.pressed":
                self._say(talk, "caller", f"presses {moment.detail['key']}")
            case "clear":
                self._say(talk, "server", "barge-in: what was not heard yet is taken back")
            case "completed":
                self._say(talk, "phone", "the line is closed")
            case "error":
                said = f"error {moment.detail['code']}: {moment.detail['message']}"
                self._say(talk, "twilio", said)
            case "busy" | "no-answer" | "canceled" | "failed":
                self._say(talk, "phone", moment.kind.replace("-", " "))
        if moment.kind in list(CallState) and CallState(moment.kind).is_over:
            # Twilio still notes something of a call that is over.
            self._ended[call.sid] = talk
            self._talks.pop(call.sid, None)

    def model(self, session: Session, event: Event) -> None:
        """Something happened in a session of the model."""
        speaks = event.kind in ("says", "toolCall")
        talk = self._talk_of(session, speaks=speaks)
        if event.kind == "says":
            words = str(event.message)
            if talk is None:
                self._without_call.setdefault(session, []).append(words)
            elif talk.answered:
                self._say(talk, "agent", words)
            else:
                talk.prepared.append(words)
        elif event.kind == "toolCall":
            for called in event.message["functionCalls"]:
                self._say(talk, "tool", f"{called['name']}({_arguments(called['args'])})")

    def of_model(self, session: Session, what: str) -> None:
        """Tell something of the model in the call of this session."""
        self._say(self._talk_of(session, speaks=True), "model", what)

    def of_agent(self, sid: str, what: str) -> None:
        """Tell what the agent said in the call with this CallSid."""
        self._say(self._talks.get(sid), "agent", what)

    def _begin(self, call: EmulatedCall) -> _Talk:
        self._count += 1
        talk = self._talks[call.sid] = _Talk(self._count)
        if len(self._talks) > 1:
            for live in self._talks.values():
                live.is_marked = True
        waiting = [it for it in self._without_call if it.is_open and it.resumes is None]
        if waiting:
            self._give(waiting[0], talk)
        return talk

    def _talk_of(self, session: Session, *, speaks: bool) -> _Talk | None:
        """The session's call; one that speaks while one call is live is that one's."""
        before = session.resumes
        for talk in self._talks.values():
            if talk.session is session:
                return talk
            if talk.session is before is not None:
                self._give(session, talk)
                return talk
        if session.number in self._had_call:
            return None
        silent = [talk for talk in self._talks.values() if talk.session is None]
        if not silent and speaks and len(self._talks) == 1:
            silent = [*self._talks.values()]
        if not silent:
            self._without_call.setdefault(session, [])
            return None
        self._give(session, silent[0])
        return silent[0]

    def _give(self, session: Session, talk: _Talk) -> None:
        talk.session = session
        self._had_call.add(session.number)
        talk.prepared += self._without_call.pop(session, [])

    def _say(self, talk: _Talk | None, who: str, what: str) -> None:
        is_marked = talk is not None and talk.is_marked
        self._tell(who, f"[{talk.number}] {what}" if talk is not None and is_marked else what)


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
