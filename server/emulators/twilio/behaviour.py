"""What happens when a number is rung: somebody answers, or nobody does."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from server.emulators.twilio.handset import Handset
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.person import Person, PersonFunction
from server.emulators.twilio.sound import tone

SIP_CANCELED = 487
BEEP_HZ = 1_000
BEEP_SECS = 0.4
# Answers, listens, and says nothing.
QUIET = Person()


@dataclass(frozen=True, slots=True)
class Answer:
    """A person answers after `ring_secs`."""

    person: Person = QUIET
    ring_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class Voicemail:
    """A machine answers: its greeting, a beep, and then it listens."""

    greeting: str = "Hello, I cannot come to the phone. Please leave a message after the beep."
    ring_secs: float = 0.0
    voice: str = "en-us"


@dataclass(frozen=True, slots=True)
class Busy:
    """The number is engaged."""

    ring_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """The person presses the red button. Twilio calls that busy (SIP 603)."""

    ring_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """It rings until the caller's time-out."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The network finds no phone there: the call fails."""

    sip_code: int = 404
    ring_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class Invalid:
    """No phone number: the REST API refuses it (21211)."""


Behaviour = Answer | Voicemail | Busy | Rejected | NoAnswer | Unreachable | Invalid


class Ring(StrEnum):
    """How ringing ended, in Twilio's words."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rung:
    """The end of ringing, and who is there when somebody is."""

    outcome: Ring
    sip_code: int = 200
    person: Person | None = None
    is_machine: bool = False


def behaviour_of(somebody: Behaviour | Person | PersonFunction) -> Behaviour:
    """A person alone, or a function that plays one, answers at once."""
    if isinstance(somebody, Person):
        return Answer(somebody)
    if callable(somebody):
        return Answer(Person(somebody))
    return somebody


def rings(behaviour: Behaviour) -> bool:
    """Whether a phone is heard to ring at all before it is known how it goes."""
    return not (isinstance(behaviour, Busy | Unreachable) and behaviour.ring_secs == 0)


async def ring(behaviour: Behaviour, timeout_secs: float) -> Rung:
    """Let it ring for as long as it takes, at most `timeout_secs`."""
    if isinstance(behaviour, NoAnswer | Invalid):
        ring_secs = timeout_secs
    else:
        ring_secs = behaviour.ring_secs
        if isinstance(behaviour, Answer):
            behaviour.person.prepare()
    await asyncio.sleep(min(ring_secs, timeout_secs))
    if ring_secs >= timeout_secs:
        return Rung(Ring.NO_ANSWER, SIP_CANCELED)
    match behaviour:
        case Answer(person):
            return Rung(Ring.ANSWERED, person=person)
        case Voicemail():
            return Rung(Ring.ANSWERED, person=_machine(behaviour), is_machine=True)
        case Busy():
            return Rung(Ring.BUSY, 486)
        case Rejected():
            return Rung(Ring.BUSY, 603)
        case Unreachable(sip_code):
            return Rung(Ring.FAILED, sip_code)
    return Rung(Ring.NO_ANSWER, SIP_CANCELED)


def _machine(voicemail: Voicemail) -> Person:
    async def answering_machine(phone: Handset) -> None:
        await phone.say(voicemail.greeting)
        await phone.play(tone(BEEP_HZ, BEEP_SECS).tobytes(), RATE, text="(beep)")

    return Person(answering_machine, voice=voicemail.voice)
