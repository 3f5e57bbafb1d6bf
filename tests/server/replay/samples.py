"""Replays as the player hands them over, made by hand: calls that passed, failed, broke, …

`sound_of` says what a stretch sounds like; the default is a tone whose level moves as speech does.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from server.replay.results import Failure, Happened, Replay, Sound, Stretch, Verdict
from server.replay.scenario import CallPlan, NotChecked, Scenario, Where

RATE = 8_000
FILE = Path("scenarios/appointments.yaml")
SoundOf = Callable[[Stretch], bytes]


def tone(stretch: Stretch) -> bytes:
    """PCM16 at 8 kHz for as long as the stretch lasts, louder and quieter four times a second."""
    secs = np.arange(round((stretch.end - stretch.start) * RATE)) / RATE
    pitch = 210.0 if stretch.who == "caller" else 130.0
    level = 0.3 + 0.25 * np.sin(2 * np.pi * 4 * secs)
    wave = np.sin(2 * np.pi * pitch * secs) * level * 32_767
    return bytes(wave.astype("<i2").tobytes())


def sound(speech: Sequence[Stretch], call_secs: float, sound_of: SoundOf = tone) -> Sound:
    """Both sides of a call, each stretch where it was spoken."""
    sides = {who: np.zeros(round(call_secs * RATE), dtype="<i2") for who in ("caller", "agent")}
    for stretch in speech:
        start = round(stretch.start * RATE)
        room = min(len(sides[stretch.who]), round(stretch.end * RATE)) - start
        samples = np.frombuffer(sound_of(stretch), dtype="<i2")[:room]
        sides[stretch.who][start : start + len(samples)] = samples
    return Sound(sides["caller"].tobytes(), sides["agent"].tobytes())


def scenario(name: str, line: int = 1, call: CallPlan | None = None) -> Scenario:
    """A scenario that stands on a line of `FILE`."""
    return Scenario(f"{FILE.stem}/{name}", Where(FILE, line), call or CallPlan())


def framed(call_secs: float, ended_by: str = "person") -> list[Happened]:
    """What happens around any answered call."""
    return [
        Happened(-1.0, "phone", "ringing"),
        Happened(-0.9, "model", "setup", detail={"session": 1}),
        Happened(-0.6, "model", "setupComplete", detail={"session": 1}),
        Happened(0.0, "phone", "in-progress"),
        Happened(0.02, "phone", "stream.started", detail={"stream_sid": "MZ1"}),
        Happened(call_secs - 0.1, "phone", "hung_up", detail={"by": ended_by}),
        Happened(call_secs - 0.05, "model", "closed", detail={"session": 1}),
        Happened(call_secs, "phone", "completed"),
    ]


def conversation(
    name: str,
    speech: Sequence[Stretch],
    *,
    happened: Sequence[Happened] = (),
    response_ms: Sequence[float] = (),
    sound_of: SoundOf = tone,
    line: int = 1,
    took_secs: float = 0.6,
) -> Replay:
    """A call that passed, with all that is known of it."""
    call_secs = max(stretch.end for stretch in speech) + 1.0
    return Replay(
        scenario(name, line),
        Verdict.PASSED,
        call_id="4f1c9f",
        status="completed",
        end_reason="agent",
        call_secs=call_secs,
        took_secs=took_secs,
        timeline=sorted([*framed(call_secs), *happened], key=lambda event: event.at),
        speech=list(speech),
        transcript=[
            {
                "who": stretch.who,
                "text": stretch.text,
                "start_ms": round(stretch.start * 1000),
                "end_ms": round(stretch.end * 1000),
                "interrupted": stretch.interrupted,
            }
            for stretch in speech
        ],
        response_ms=list(response_ms),
        first_sound_ms=speech[0].start * 1000,
        sound=sound(speech, call_secs, sound_of),
    )


def barge_in(sound_of: SoundOf = tone) -> Replay:
    """The caller interrupts, a function is called, the agent says goodbye."""
    speech = [
        Stretch("agent", 0.42, 4.9, "Hello Ms Lee. You have an appointment on Tuesday at ten."),
        Stretch("caller", 6.0, 7.6, "What should I bring with me?"),
        Stretch("agent", 8.48, 11.2, "Please bring your insurance card and a list of", True),
        Stretch("caller", 10.6, 12.7, "Sorry, can I come on Friday instead?"),
        Stretch("agent", 14.1, 17.4, "That is noted. We will call you back."),
        Stretch("caller", 18.3, 19.5, "Thank you, goodbye."),
        Stretch("agent", 20.4, 22.0, "Thank you. Goodbye, Ms Lee."),
    ]
    args = {"wish": "Friday"}
    happened = [
        Happened(11.2, "phone", "bot_interrupted", detail={"dropped_ms": 3_140}),
        Happened(8.1, "model", "llm_started", speech[2].text),
        Happened(11.15, "model", "llm_response", speech[2].text),
        Happened(13.1, "tool", "function_call", detail={"name": "move_appointment", "args": args}),
        Happened(
            13.7, "tool", "function_call_stopped", detail={"name": "move_appointment", "args": {}}
        ),
        Happened(14.0, "model", "llm_started", speech[4].text),
        Happened(16.0, "model", "llm_response", speech[4].text),
        Happened(22.2, "tool", "function_call", detail={"name": "hang_up", "args": {}}),
    ]
    return conversation(
        "barge_in",
        speech,
        happened=happened,
        response_ms=[880, 1_400, 900],
        sound_of=sound_of,
        line=14,
        took_secs=0.82,
    )


def failed(sound_of: SoundOf = tone) -> Replay:
    """An answer that came late, and a line that Gemini dropped."""
    speech = [
        Stretch("agent", 0.61, 3.2, "Good morning, this is the practice."),
        Stretch("caller", 4.4, 6.3, "What are your opening hours?"),
        Stretch("agent", 9.9, 12.4, "We are open from nine to five."),
    ]
    happened = [
        Happened(7.0, "model", "closed", detail={"session": 1}),
        Happened(7.1, "model", "setup", detail={"session": 2}),
        Happened(7.6, "model", "setupComplete", detail={"session": 2}),
    ]
    made = conversation(
        "opening_hours", speech, happened=happened, response_ms=[3_600], sound_of=sound_of, line=41
    )
    made.verdict = Verdict.FAILED
    made.failures = [
        Failure(
            Where(FILE, 47),
            "response with “nine to five” within 3000 ms",
            "response came late, at 12.40 s",
        ),
        Failure(Where(FILE, 58), "end_reason: caller", "agent"),
    ]
    made.not_checked = [NotChecked(Where(FILE, 49), "eval: the agent sounds friendly")]
    return made


def broken() -> Replay:
    """The server did not come up."""
    return Replay(
        scenario("invalid_model", 70),
        Verdict.BROKEN,
        problem="StageError: the server did not become ready within 10 s",
        took_secs=10.02,
    )


def not_checked() -> Replay:
    """A scenario that only asks for what a telephone cannot show."""
    it = NotChecked(Where(FILE, 83), "persona: an impatient customer (needs a simulated caller)")
    return Replay(scenario("persona", 80), Verdict.NOT_CHECKED, not_checked=[it])


def no_answer() -> Replay:
    """Nobody picks up: the times count from the beginning."""
    return Replay(
        scenario("no_answer", 90, CallPlan(answer="no_answer")),
        Verdict.PASSED,
        status="no_answer",
        took_secs=0.2,
        timeline=[
            Happened(0.3, "phone", "ringing"),
            Happened(30.3, "phone", "no-answer"),
        ],
    )


def long_call(sound_of: SoundOf = tone, *, minutes: float = 5) -> Replay:
    """Question and answer, over and over."""
    questions = ("Is parking free?", "And on Sundays?", "What does it cost for two weeks?")
    replies = (
        "Parking is free for two hours, and then two euros an hour.",
        "On Sundays it is free all day.",
        "For two weeks it is forty euros, and you can pay at the registry.",
    )
    speech = [Stretch("agent", 0.1, 2.0, "Hello, how can I help?")]
    waits: list[float] = []
    at, number = 3.0, 0
    while at < minutes * 60 - 12:
        wait = 0.7 + 0.13 * (number * 7 % 5)
        question, reply = questions[number % 3], replies[number % 3]
        asked, answered = at + 0.07 * len(question), 0.065 * len(reply)
        speech.append(Stretch("caller", at, asked, question))
        speech.append(Stretch("agent", asked + wait, asked + wait + answered, reply))
        waits.append(wait * 1000)
        at, number = asked + wait + answered + 1.5, number + 1
    return conversation(
        "five_minutes", speech, response_ms=waits, sound_of=sound_of, line=101, took_secs=8.4
    )


def repetition(of: Replay, number: int, *, passed: bool = True) -> Replay:
    """The same scenario, played once more."""
    if passed:
        return replace(of, repetition=number)
    why = [Failure(of.scenario.where, "gaps: at most 0", "2 gaps")]
    return replace(of, repetition=number, verdict=Verdict.FAILED, failures=why)


def one_of_each(sound_of: SoundOf = tone) -> list[Replay]:
    """Passed, failed, broken, not checked, not answered."""
    return [barge_in(sound_of), failed(sound_of), broken(), not_checked(), no_answer()]
