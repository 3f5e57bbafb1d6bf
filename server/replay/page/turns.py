"""Which words each response time belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.replay.results import Replay, Stretch

# How far the agent's sound may be from where a response time says that it began: both are taken
# from the same stretches of speech, and only rounded.
_TOLERANCE_SECS = 0.005


@dataclass(frozen=True, slots=True)
class Answered:
    """How long an answer took: `ms`, from `at` (seconds from the answer) on.

    `said` is what it answers. Both are only known when the speech of the call shows the place.
    """

    ms: float
    at: float | None = None
    said: str = ""


def answers(replay: Replay) -> list[Answered]:
    """The response times in their order, each with the caller's words that it answers."""
    callers = [stretch for stretch in replay.speech if stretch.who == "caller"]
    agents = [stretch for stretch in replay.speech if stretch.who == "agent"]
    found: list[Answered] = []
    first = 0
    for ms in replay.response_ms:
        number = _number_of(ms, callers[first:], agents)
        if number is None:
            found.append(Answered(ms))
            continue
        stretch = callers[first + number]
        found.append(Answered(ms, stretch.end, stretch.text))
        first += number + 1
    return found


def _number_of(ms: float, callers: Sequence[Stretch], agents: Sequence[Stretch]) -> int | None:
    for number, stretch in enumerate(callers):
        begins = stretch.end + ms / 1000
        if any(abs(agent.start - begins) <= _TOLERANCE_SECS for agent in agents):
            return number
    return None
