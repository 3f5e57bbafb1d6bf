"""Kinds of calls of the durable demo: how each goes, and how it may end."""

import random
from dataclasses import dataclass
from enum import Enum
from typing import Any

from server.emulators.twilio import Answer, Busy, NoAnswer, Person
from server.emulators.twilio.behaviour import Behaviour, Invalid, Unreachable
from server.emulators.twilio.faults import CallbackPlan, Hang, Refuse, RestFault, ServerError, Slow
from server.emulators.twilio.handset import Handset

Ends = tuple[tuple[str, str], ...]


async def _talks(phone: Handset) -> None:
    await phone.pause(4.0)
    phone.hang_up()


async def _hangs_up_early(phone: Handset) -> None:
    await phone.pause(0.2)
    phone.hang_up()


async def _stays(phone: Handset) -> None:
    await phone.until_hung_up()


@dataclass(frozen=True, slots=True)
class _Plan:
    behaviour: Behaviour
    ends: Ends
    request: dict[str, Any]


def _answers(person: Any, ring_secs: float) -> Answer:
    return Answer(Person(person), ring_secs=ring_secs)


class Kind(Enum):
    """A kind of call; the value says who is called, how it ends, and what is asked for."""

    ANSWERED = _Plan(_answers(_talks, 1.0), (("completed", "caller"),), {})
    BUSY = _Plan(Busy(ring_secs=1.0), (("busy", "caller"),), {})
    NO_ANSWER = _Plan(NoAnswer(), (("no_answer", "caller"),), {})
    UNREACHABLE = _Plan(Unreachable(ring_secs=1.0), (("failed", "system"),), {})
    INVALID = _Plan(Invalid(), (("failed", "system"),), {})
    EARLY = _Plan(_answers(_hangs_up_early, 0.5), (("completed", "caller"),), {})
    TERMINATED = _Plan(_answers(_stays, 1.0), (("completed", "api"),), {})
    TOO_LONG = _Plan(_answers(_stays, 1.0), (("completed", "limit"),), {"max_duration_seconds": 10})

    @property
    def behaviour(self) -> Behaviour:
        """Who is called."""
        return self.value.behaviour

    @property
    def ends(self) -> Ends:
        """Status and end reason that it may have in the end."""
        return self.value.ends

    @property
    def request(self) -> dict[str, Any]:
        """What is asked for beside the number."""
        return self.value.request


@dataclass(frozen=True, slots=True)
class Planned:
    """A call to place `after_secs`."""

    number: str
    kind: Kind
    after_secs: float


def plan(calls: int, dice: random.Random, *, a_second: float) -> list[Planned]:
    """So many calls, all kinds in turn, placed in no order, `a_second` on average."""
    kinds, last = list(Kind), calls / a_second
    return [
        Planned(f"+1555{number:07d}", kinds[number % len(kinds)], dice.uniform(0, last))
        for number in range(calls)
    ]


def a_fault(dice: random.Random) -> RestFault:
    """Something that Twilio's REST API does now and then."""
    on: Any = dice.choice(("create", "fetch", "update", "list"))
    return dice.choice(
        (
            Refuse(20429, "Too many requests", on=on),
            ServerError(on=on),
            ServerError(placed=True, on=on),
            Slow(dice.uniform(0.5, 3.0), on=on),
            Hang(placed=True, on=on),
        )
    )


def a_callback_plan(dice: random.Random) -> CallbackPlan:
    """What becomes of the status callbacks for a while: all well, lost, late or doubled."""
    event = dice.choice(("ringing", "answered", "completed"))
    return dice.choice(
        (
            CallbackPlan(),
            CallbackPlan(lose={event}),
            CallbackPlan(delay_secs={event: dice.uniform(1, 10)}),
            CallbackPlan(twice=True),
        )
    )
