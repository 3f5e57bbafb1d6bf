"""What was heard at the phone: words by a recogniser, figures by measuring the sound itself."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from server.emulators.ears import Ears
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.gemini_live.session_log import Reply
from server.emulators.speech import speak, voice_for
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.sound import Span, at_line_rate
from server.replay.events import REPLY_PAUSE_SECS, HeardSpan, Timeline
from server.replay.results import Stretch
from server.replay.scenario import Scenario, Turn
from server.replay.sound_match import Match, Samples, find
from server.replay.stage import Stage
from server.replay.tasks import stopped

# Words begin and end more softly than a detector hears.
MARGIN_SECS = 0.15
# A sound that came through like this is the sound that was made.
UNALTERED_MS = 20.0
WHOLE_MS = 60.0
# An interruption so long after the caller's last sound, or key, is still theirs.
INTERRUPTS_WITHIN_SECS = 3.0
# The record is written behind; a little later it holds what was just heard.
RECORDED_AFTER_SECS = 0.6


@dataclass(frozen=True, slots=True)
class HeardReply:
    """A reply of the emulated model, and what of it was found at the phone; None: nothing."""

    reply: Reply
    match: Match | None
    # Seconds from the answer at which the model began to send it.
    said_secs: float


@dataclass
class Hearing:
    """The ears of one replay."""

    scenario: Scenario
    stage: Stage
    timeline: Timeline
    current_turn: Callable[[], Turn]
    # Recognised sentences, in the order heard; None for what could not be understood.
    sentences: list[str | None] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reply_heard(self, reply: HeardSpan) -> None:
        """A stretch of the agent's speech is over: find out what was said, and tell."""
        understanding = self._understand(reply)
        self._tasks.append(asyncio.create_task(understanding, name="hearing"))

    async def all_understood(self) -> None:
        """Wait until everything heard so far was understood. Raises what went wrong at it."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> list[Exception]:
        """Listen no more; what went wrong at it before."""
        return await stopped(self._tasks)

    def _words_matter(self) -> bool:
        """Recognising costs more than all the rest: it is done where somebody asks for words."""
        return bool(self.scenario.outcome.heard) or any(
            expectation.event in ("response", "tts_response")
            and (expectation.text_contains or expectation.text_excludes)
            for expectation in self.current_turn().expect
        )

    async def _understand(self, reply: HeardSpan) -> None:
        span = Span(reply.start_secs, reply.end_secs)
        text = ""
        if self.stage.gemini is None:
            text = await self._last_recorded()
        elif self._words_matter():
            sentence = await self._recognise(span, cut=reply.cut)
            self.sentences.append(sentence)
            text = sentence or ""
        self.timeline.heard(reply, text)

    async def _recognise(self, span: Span, *, cut: bool) -> str | None:
        """What was said: by its own sound where it came through whole, else by a recogniser."""
        pcm = self.stage.twilio.calls[-1].record.agent_audio
        if (said := self._by_its_sound(span, np.frombuffer(pcm, dtype="<i2"))) is not None:
            return said
        start, end = max(0.0, span.start_secs - MARGIN_SECS), span.end_secs + MARGIN_SECS
        piece = pcm[2 * round(start * RATE) : 2 * round(end * RATE)]
        known = self._known_sentences()
        if not known:
            return None
        language = str(self.scenario.call.request.get("language", "en-US"))
        sentence = await Ears(known, language=language).listen(piece, RATE)
        # A recogniser knows whole sentences only, also where a part was heard.
        return self._part(sentence, span) if sentence and cut else sentence

    def _part(self, sentence: str, span: Span) -> str | None:
        """The words of a sentence that there was time for."""
        secs = len(speak(sentence, voice=self._model_voice(sentence), rate=RATE)) / 2 / RATE
        words = sentence.split()
        heard = round(len(words) * (span.end_secs - span.start_secs) / secs) if secs else 0
        return " ".join(words[: min(heard, len(words) - 1)]) or None

    def _model_voice(self, sentence: str) -> str:
        for session in self.stage.gemini.sessions if self.stage.gemini else ():
            for reply in session.log.replies:
                if reply.text == sentence and reply.voice:
                    return reply.voice
        return voice_for(str(self.scenario.call.request.get("language", "en-US")))

    def _by_its_sound(self, span: Span, heard: Samples) -> str | None:
        """The replies whose very sound is in this stretch, unaltered; None when there is none."""
        within = heard[: round((span.end_secs + MARGIN_SECS) * RATE)]
        found = []
        for session in self.stage.gemini.sessions if self.stage.gemini else ():
            for reply in session.log.replies:
                sound = at_line_rate(
                    speak(reply.text, voice=reply.voice, rate=SPEAKS_AT), SPEAKS_AT
                )
                match = find(sound, within, after_secs=span.start_secs - MARGIN_SECS)
                if match and match.altered_ms <= UNALTERED_MS and match.cut_off_ms <= WHOLE_MS:
                    found.append((match.start_secs, reply.text))
        return " ".join(text for _, text in sorted(found)) or None

    def _known_sentences(self) -> list[str]:
        """What may have been said: by the model in this call, singly and together, or by Twilio."""
        said = [event.text for event in self.timeline.events if event.kind == "llm_started"]
        together = [" ".join(pair) for pair in pairwise(said)]
        by_twilio = [
            str(event.detail.get("text", ""))
            for event in self.timeline.events
            if event.kind == "twilio.says"
        ]
        return list(dict.fromkeys(filter(None, [*said, *together, *by_twilio])))

    async def _last_recorded(self) -> str:
        await asyncio.sleep(RECORDED_AFTER_SECS)
        calls = (await self.stage.api.get("/calls")).json()["calls"]
        turns = (await self.stage.api.get(f"/calls/{calls[0]['id']}/transcript")).json()["turns"]
        return next((str(t["text"]) for t in reversed(turns) if t["who"] == "agent"), "")

    # --- once the call is over -------------------------------------------------------------------

    def whole_replies(self, call: EmulatedCall) -> list[HeardReply]:
        """The emulated model's replies that nobody cut short, and where the phone heard them."""
        if self.stage.gemini is None or call.line is None:
            return []
        answered = call.line.answered_at
        heard = np.frombuffer(call.record.agent_audio, dtype="<i2")
        found = []
        after = 0.0
        for session in self.stage.gemini.sessions:
            for reply in session.log.replies:
                said = reply.started_at - answered
                if not reply.complete or self._was_stopped(reply, said, call):
                    continue
                pcm = speak(reply.text, voice=reply.voice, rate=SPEAKS_AT)
                match = find(at_line_rate(pcm, SPEAKS_AT), heard, after_secs=max(after, said - 0.1))
                whole = match is not None and match.cut_off_ms <= UNALTERED_MS
                if not whole and self._hung_up_within(reply, said, call):
                    continue
                if match is not None:
                    after = match.end_secs - 0.1
                found.append(HeardReply(reply, match, said))
        return found

    def _was_stopped(self, reply: Reply, said: float, call: EmulatedCall) -> bool:
        """Whether somebody had a right to stop it: the caller, or a fault."""
        until = self._heard_until(reply, said, call)
        return any(
            event.kind == "stream.lost"
            or (event.kind == "bot_interrupted" and _has_cause(event.at, call))
            for event in self.timeline.events
            if said <= event.at <= until
        )

    def _hung_up_within(self, reply: Reply, said: float, call: EmulatedCall) -> bool:
        """Whether the caller hung up before its end can be sure to have been heard."""
        ended = self._ended_at(call)
        return call.hung_up_by == "caller" and ended <= self._heard_until(reply, said, call)

    def _heard_until(self, reply: Reply, said: float, call: EmulatedCall) -> float:
        started = call.record.first("stream.started")
        heard_from = said if started is None else max(said, call.record.secs(started))
        return heard_from + reply.secs + 1.0

    def _ended_at(self, call: EmulatedCall) -> float:
        ended = call.record.first("hung_up")
        return call.record.secs(ended) if ended is not None else self.timeline.now()

    def stretches(self, call: EmulatedCall, turns: list[dict[str, Any]]) -> list[Stretch]:
        """Who spoke when, at the phone; the agent's words are those of the record."""
        found = [Stretch("caller", s.start_secs, s.end_secs, s.text) for s in call.record.said]
        agent = [turn for turn in turns if turn["who"] == "agent"]
        for span in call.record.agent_speech(pause_secs=REPLY_PAUSE_SECS):
            within = [turn for turn in agent if _overlap(turn, span) > 0]
            best = max(within, key=lambda turn: _overlap(turn, span), default=None)
            text = "" if best is None else str(best["text"])
            cut = best is not None and bool(best["interrupted"])
            found.append(Stretch("agent", span.start_secs, span.end_secs, text, cut))
        return sorted(found, key=lambda stretch: stretch.start)

    def response_ms(self, call: EmulatedCall) -> list[float]:
        """From the end of each caller's stretch to the agent's next sound, if one came."""
        said = call.record.said
        speech = call.record.agent_speech(pause_secs=REPLY_PAUSE_SECS)
        found = []
        for index, stretch in enumerate(said):
            until = said[index + 1].start_secs if index + 1 < len(said) else float("inf")
            starts = (s.start_secs for s in speech if stretch.end_secs <= s.start_secs < until)
            if (start := next(starts, None)) is not None:
                found.append((start - stretch.end_secs) * 1000)
        return found

    def uplink_lost_ms(self, call: EmulatedCall) -> float:
        """How much of the caller's side of the line never reached the model."""
        if self.stage.gemini is None:
            return 0.0
        started = call.record.first("stream.started")
        if started is None or call.line is None:
            return 0.0
        streamed = len(call.line.spoken) / RATE - max(0.0, call.record.secs(started))
        received = sum(len(session.log.audio) for session in self.stage.gemini.sessions) / 32_000
        return max(0.0, streamed - received) * 1000


def _has_cause(at_secs: float, call: EmulatedCall) -> bool:
    """Whether the caller did something for which the agent may have been interrupted then."""
    spoke = any(
        s.start_secs <= at_secs and at_secs - s.end_secs <= INTERRUPTS_WITHIN_SECS
        for s in call.record.said
    )
    ago = (at_secs - call.record.secs(m) for m in call.record.all("caller.pressed"))
    return spoke or any(0 <= secs <= INTERRUPTS_WITHIN_SECS for secs in ago)


def _overlap(turn: dict[str, Any], span: Span) -> float:
    start, end = float(turn["start_ms"]) / 1000, float(turn["end_ms"]) / 1000
    return min(end, span.end_secs) - max(start, span.start_secs)
