"""Report of a demo call: figures measured at the phone, and what is wrong with them."""

from dataclasses import dataclass
from typing import Any

from server.demo.conversation import BARGE_IN, GOODBYE, SAID
from server.emulators.ears import Ears
from server.emulators.gemini_live import Session
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.gemini_live.session_log import Reply
from server.emulators.speech import speak
from server.emulators.twilio import EmulatedCall
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.sound import at_line_rate, spans

# Replies are further apart, sentences within one are not.
REPLY_PAUSE_SECS = 1.0
# Sound is found in packets of 20 ms, at either end.
DETECTOR_SECS = 0.04


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    value: str


@dataclass(frozen=True)
class Report:
    """The table's rows, and every sentence that says what went wrong."""

    figures: list[Figure]
    wrong: list[str]


def report(call: EmulatedCall, session: Session, view: dict[str, Any]) -> Report:
    """Judge a call by what was heard at the phone, what the model was told, and the record.

    `view` is the call's result as the API gives it.
    """
    record = call.record
    speech = record.agent_speech(pause_secs=0.6)
    figures = [Figure("answer → first sound", _ms(record.first_sound_secs))]
    wrong: list[str] = []
    for said in record.said:
        answer = next(
            (span.start_secs for span in speech if span.start_secs >= said.end_secs), None
        )
        response = None if answer is None else answer - said.end_secs
        figures.append(Figure(f"response to “{said.text}”", _ms(response)))
        if response is None:
            wrong.append(f"nothing answered “{said.text}”")
    silence = _silence_after_barge_in(call)
    figures.append(Figure("barge-in → silence", _ms(silence)))
    figures.append(Figure("gaps inside the agent's speech", str(len(record.gaps))))
    figures.append(Figure("outcome", f"{view['status']}, ended by {view['end_reason']}"))

    if silence is None:
        wrong.append("the barge-in did not stop the agent")
    if record.gaps:
        wrong.append(f"{len(record.gaps)} gaps in what the agent said")
    if (view["status"], view["end_reason"]) != ("completed", "agent"):
        wrong.append(f"the call ended {view['status']} by {view['end_reason']}, not by the agent")
    if not any(turn["interrupted"] for turn in view["turns"]):
        wrong.append("the record does not say that the agent was interrupted")
    if [name["name"] for name in session.log.tool_calls] != ["move_appointment", "hang_up"]:
        wrong.append("the tools were not called as the conversation asks for")
    wrong += _lost(call, session)
    wrong += [f"Twilio notes error {error.code}: {error.message}" for error in record.errors]
    return Report(figures, wrong)


def _silence_after_barge_in(call: EmulatedCall) -> float | None:
    said = next((said for said in call.record.said if said.text == BARGE_IN), None)
    if said is None:
        return None
    for span in call.record.agent_speech(pause_secs=0.3):
        if span.start_secs < said.start_secs < span.end_secs < said.end_secs:
            return span.end_secs - said.start_secs
    return None


def _lost(call: EmulatedCall, session: Session) -> list[str]:
    """What of the replies that were said to their end did not come out of the phone."""
    heard = call.record.agent_speech(pause_secs=REPLY_PAUSE_SECS)
    if len(heard) != len(session.log.replies):
        return [f"{len(session.log.replies)} replies were said, {len(heard)} were heard"]
    wrong = []
    for reply, span in zip(session.log.replies, heard, strict=True):
        lost = _length_secs(reply) - (span.end_secs - span.start_secs)
        if reply.complete and lost > DETECTOR_SECS:
            wrong.append(f"{lost * 1000:.0f} ms of “{reply.text}” were not heard")
    pcm = call.record.agent_audio
    ending = slice(*(2 * round(at * RATE) for at in (heard[-1].start_secs, heard[-1].end_secs)))
    if Ears(SAID).hear(pcm[ending], RATE) != GOODBYE:
        wrong.append("the goodbye cannot be understood at the phone")
    return wrong


def _length_secs(reply: Reply) -> float:
    """From the first to the last sound of a reply, as the model spoke it.

    espeak-ng never speaks the same way twice: in its own voice it is the model's very sound.
    """
    pcm = speak(reply.text, voice=reply.voice, rate=SPEAKS_AT)
    found = spans(at_line_rate(pcm, SPEAKS_AT), pause_secs=REPLY_PAUSE_SECS)
    return found[-1].end_secs - found[0].start_secs


def _ms(secs: float | None) -> str:
    return "never" if secs is None else f"{secs * 1000:.0f} ms"
