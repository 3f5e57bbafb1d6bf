"""Judges a call of the chaos bench from outside: by what the phone and the model's sessions got."""

import asyncio
from dataclasses import dataclass

from server.chaos.kinds import Kind, Scene
from server.chaos.question import TONE_MS, TONES, tones_in
from server.chaos.talk import ANSWER, answer_secs
from server.emulators.gemini_live import Session
from server.emulators.gemini_live.voice_activity import HEARS_AT
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.sound import Span

# Of the answer, so much has to be heard; a sentence that bridges the wait is not counted.
HEARD_SHARE = 0.85
# A system with one reply at a time has no silence of this length within it.
PAUSE_SECS = 0.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one call. Lengths in ms of the caller's question, and seconds of silence."""

    kind: str
    # Speech that no session was sent; that the one that answered was not; that one got twice.
    lost_ms: int
    unknown_ms: int
    doubled_ms: int
    longest_silence_secs: float
    replies_lost: int
    tool_runs: int | None
    outcome: str

    @property
    def is_alive(self) -> bool:
        """The caller got the answer, and hung up."""
        return self.outcome == "alive"


def judge(kind: Kind, scene: Scene, call: EmulatedCall, *, tool_runs: int | None) -> Verdict:
    """Judge a call that is over."""
    heard_by = [(each, tones_in(bytes(each.log.audio), HEARS_AT)) for each in scene.sessions]
    anywhere = set().union(*(tones for _, tones in heard_by)) if heard_by else set()
    answering = _answering(scene.sessions)
    known = next((set(tones) for each, tones in heard_by if each is answering), set())
    twice = max((sum(times > 1 for times in tones.values()) for _, tones in heard_by), default=0)
    question = next((said for said in call.record.said if said.text == "question"), None)
    asked_until = question.end_secs if question is not None else 0.0
    agent = call.record.agent_speech(pause_secs=PAUSE_SECS)
    heard_secs = sum(
        span.end_secs - span.start_secs for span in agent if span.start_secs >= asked_until - 0.2
    )
    replied = heard_secs >= HEARD_SHARE * answer_secs() and answering is not None
    return Verdict(
        kind=kind.name,
        lost_ms=(TONES - len(anywhere)) * TONE_MS,
        unknown_ms=(TONES - len(known)) * TONE_MS,
        doubled_ms=twice * TONE_MS,
        longest_silence_secs=_longest_silence(call, agent, replied=replied),
        replies_lost=0 if replied else 1,
        tool_runs=tool_runs,
        outcome=_outcome(call, replied=replied),
    )


def _answering(sessions: list[Session]) -> Session | None:
    """The session whose answer was generated to its end, or the last one that began it."""
    began = [each for each in sessions if any(r.text == ANSWER for r in each.log.replies)]
    whole = [
        each for each in began if any(r.text == ANSWER and r.complete for r in each.log.replies)
    ]
    return next(reversed(whole or began), None)


def _longest_silence(call: EmulatedCall, agent: list[Span], *, replied: bool) -> float:
    """The longest time in which nobody spoke, from the answer to the end of the agent's answer."""
    questions = call.record.caller_speech()
    spans = [*agent, *questions]
    end = max((span.end_secs for span in spans), default=0.0)
    if not replied:
        end = max(end, len(call.record.agent_audio) / 2 / 8_000)
    longest, heard_until = 0.0, 0.0
    for span in sorted([*spans, Span(end, end)], key=lambda span: span.start_secs):
        if span not in questions:
            longest = max(longest, span.start_secs - heard_until)
        heard_until = max(heard_until, span.end_secs)
    return longest


def _outcome(call: EmulatedCall, *, replied: bool) -> str:
    if call.hung_up_by != "caller":
        return "ended by the agent"
    return "alive" if replied else "no answer"


async def settled(call: EmulatedCall, within_secs: float) -> bool:
    """Wait until a call is over; a call that is not is ended, and False."""
    try:
        async with asyncio.timeout(within_secs):
            await call.settled()
    except TimeoutError:
        call.hang_up()
        await call.settled()
        return False
    return True
