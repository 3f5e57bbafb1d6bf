"""What happens on a call while it is replayed, as one timeline of named events.

The names are those of the scenario format; they are taken from what the phone heard and from what
the emulated model did, never from inside the server.

    phone   says ─ user_started_speaking … said ─ user_stopped_speaking
            agent.speaks ─ bot_started_speaking … quiet for 0.7 s ─ bot_stopped_speaking, response
            clear ─ bot_interrupted
    model   speech_started / ended ─ vad_user_*      heard ─ user_transcription
            says ─ llm_started … generationComplete ─ llm_response
            toolCall ─ function_call      toolResponse, cancellation ─ function_call_stopped
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from server.emulators.gemini_live import Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.record import Moment
from server.emulators.twilio.waiting import Changes
from server.replay.results import Happened

# Sentences of one reply are closer together than this; replies are further apart.
REPLY_PAUSE_SECS = 0.7
# What happens at the phone is known so much later at the latest: quiet is noticed by listening.
NOTICED_AFTER_SECS = 0.3

Lane = Literal["caller", "agent", "tool", "model", "phone"]

# Moments of the phone and events of the model that are shown, but that no scenario waits for.
PHONE_SHOWS = frozenset(
    {
        *("ringing", "in-progress", "completed", "busy", "no-answer", "failed", "canceled"),
        *("stream.started", "stream.stopped", "stream.lost", "caller.pressed"),
        *("twilio.says", "dial", "dialled", "error", "callback.lost"),
    }
)
MODEL_SHOWS = frozenset({"setup", "setupComplete", "closed", "error"})


@dataclass(frozen=True, slots=True)
class HeardSpan:
    """A stretch of the agent's speech at the phone; seconds from the answer.

    `cut`: its end was dropped before it was heard. `by_twilio`: TwiML said it, not the agent.
    """

    start_secs: float
    end_secs: float
    cut: bool = False
    by_twilio: bool = False


class Timeline:
    """The events of one call, in the order in which they were known."""

    def __init__(self) -> None:
        self.events: list[Happened] = []
        self._began = asyncio.get_running_loop().time()
        self.answered_at: float | None = None
        self.over = False
        self.changes = Changes()
        self._speaking = False
        self._quiet_timer: asyncio.TimerHandle | None = None
        self._reply_began = 0.0
        self._quiet_since: float | None = None
        self._last_said = ""
        # Of the reply that is heard: something of it was dropped, and Twilio's own voice said it.
        self._cut = False
        self._by_twilio = self._twilio_says = False
        # Told of each reply that was heard; who is told calls `heard` with its words.
        self.on_reply: Callable[[HeardSpan], None] = self._heard_without_words
        # When the replies ended whose words are not known yet.
        self._unheard: list[float] = []

    @property
    def agent_speaks(self) -> bool:
        """Whether the agent is heard, or was a moment ago."""
        return self._speaking

    def now(self) -> float:
        """Seconds from the answer; before it, from the beginning of the replay."""
        return self._secs(asyncio.get_running_loop().time())

    def known_until(self) -> float:
        """Until when all is known: what came last may go on, or its words be unknown yet."""
        paused = [] if self._quiet_since is None else [self._quiet_since]
        return min([self.now() - NOTICED_AFTER_SECS, *paused, *self._unheard])

    async def more_than(self, known: int) -> None:
        """Wait until there are more events than these, or the call is over."""
        await self.changes.until(lambda: self.over or len(self.events) > known)

    def add(
        self, lane: Lane, kind: str, text: str = "", *, at: float | None = None, **detail: Any
    ) -> None:
        """Put something on the timeline: now, or where it belongs (seconds from the answer)."""
        happened_at = self.now() if at is None else at
        self.events.append(Happened(happened_at, lane, kind, text, detail))
        self.changes.happened()

    def heard(self, reply: HeardSpan, text: str) -> None:
        """A reply was heard at the phone, and these are its words."""
        if reply.end_secs in self._unheard:
            self._unheard.remove(reply.end_secs)
        how = {"start_secs": reply.start_secs, "cut": reply.cut, "by_twilio": reply.by_twilio}
        # On a phone, what is spoken and what is heard are one.
        for kind in ("response", "tts_response"):
            self.add("agent", kind, text, at=reply.end_secs, **how)

    def end(self) -> None:
        """The call is over: nothing will happen any more."""
        self._confirm_quiet()
        self.over = True
        self.changes.happened()

    # --- the phone -------------------------------------------------------------------------------

    def phone(self, call: EmulatedCall, moment: Moment) -> None:
        """Take what the telephone noticed."""
        if self.answered_at is None and call.line is not None:
            self._answered(call.line.answered_at)
        detail = moment.detail
        match moment.kind:
            case "caller.says":
                self.add("caller", "user_started_speaking", str(detail["text"]))
            case "caller.said":
                self.add("caller", "user_stopped_speaking", str(detail["text"]))
            case "agent.speaks":
                self._agent_speaks(float(detail["at_secs"]))
            case "agent.quiet":
                self._agent_quiet(float(detail["at_secs"]))
            case "clear":
                self._drop(detail)
                self.add("phone", "bot_interrupted", **detail)
            case "hung_up":
                self._confirm_quiet()
                self.add("phone", "hung_up", **detail)
            case kind if kind in PHONE_SHOWS:
                if kind == "stream.stopped":
                    self._drop(detail)
                # Between two streams, nobody but Twilio speaks.
                if kind in ("twilio.says", "stream.started"):
                    self._twilio_says = kind == "twilio.says"
                    self._by_twilio |= self._speaking and self._twilio_says
                self.add("phone", kind, **detail)

    def _drop(self, detail: dict[str, Any]) -> None:
        """Note that a part of what is being heard was dropped, if it was."""
        self._cut |= self._speaking and int(detail.get("dropped_ms", 0)) > 0

    def _answered(self, at: float) -> None:
        """From now on times count from the answer, and those before it are negative."""
        rung_secs = at - self._began
        self.answered_at = at
        self.events[:] = [replace(event, at=event.at - rung_secs) for event in self.events]

    def _heard_without_words(self, reply: HeardSpan) -> None:
        self.heard(reply, "")

    def _agent_speaks(self, at_secs: float) -> None:
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        self._quiet_timer = self._quiet_since = None
        if not self._speaking:
            self._speaking = True
            self._reply_began = at_secs
            self._cut = False
            self._by_twilio = self._twilio_says
            self.add("agent", "bot_started_speaking", at=at_secs)

    def _agent_quiet(self, at_secs: float) -> None:
        wait = at_secs + REPLY_PAUSE_SECS - self.now()
        self._quiet_since = at_secs
        loop = asyncio.get_running_loop()
        self._quiet_timer = loop.call_later(max(0.0, wait), self._confirm_quiet)

    def _confirm_quiet(self) -> None:
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        self._quiet_timer = None
        if not self._speaking:
            return
        self._speaking = False
        if self._quiet_since is None:
            self._cut = True  # the call ended within it
        ended = self.now() if self._quiet_since is None else self._quiet_since
        self._quiet_since = None
        self._unheard.append(ended)
        self.add("agent", "bot_stopped_speaking", at=ended)
        self.on_reply(HeardSpan(self._reply_began, ended, self._cut, self._by_twilio))

    # --- the model -------------------------------------------------------------------------------

    def model(self, session: Session, event: Event) -> None:
        """Take what the emulated model did."""
        message = event.message
        match event.kind:
            case "speech_started":
                self.add("model", "vad_user_started_speaking")
            case "speech_ended":
                self.add("model", "vad_user_stopped_speaking")
            case "heard":
                self.add("model", "user_transcription", str(message or ""))
            case "says":
                self._last_said = str(message)
                self.add("model", "llm_started", self._last_said)
            case "serverContent" if message.get("generationComplete"):
                self.add("model", "llm_response", self._last_said)
                self._last_said = ""
            case "toolCall":
                for called in message["functionCalls"]:
                    name, args = called["name"], called.get("args", {})
                    self.add("tool", "function_call", name=name, args=args)
            case "toolResponse":
                for answered in message["functionResponses"]:
                    self._tool_stopped(answered.get("name", ""), cancelled=False)
            case "toolCallCancellation":
                self._tool_stopped("", cancelled=True)
            case kind if kind in MODEL_SHOWS:
                self.add("model", kind, session=session.number)

    def recorded(self, kind: str, detail: dict[str, Any]) -> None:
        """Take an event of the server's record, where the model itself cannot be watched."""
        if kind == "tool.called":
            self.add("tool", "function_call", name=detail["name"], args=detail["arguments"])
        elif kind == "tool.answered":
            self._tool_stopped(str(detail["name"]), cancelled=False)

    def _tool_stopped(self, name: str, *, cancelled: bool) -> None:
        self.add("tool", "function_call_stopped", name=name, args={"cancelled": cancelled})

    def _secs(self, moment: float) -> float:
        return moment - (self._began if self.answered_at is None else self.answered_at)
