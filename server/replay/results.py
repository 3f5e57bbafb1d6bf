"""What came of a replay, as plain values: the reports read these and nothing else.

Times are seconds from the answer (before it: negative) on the clock of the replay.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from server.replay.scenario import NotChecked, Scenario, Where


class Verdict(StrEnum):
    """How a replay ended."""

    PASSED = "passed"
    FAILED = "failed"
    # The replay itself broke: nothing can be said of the scenario.
    BROKEN = "broken"
    # Nothing in it can be checked at a phone.
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Failure:
    """A line of the scenario that did not hold, and what was seen instead."""

    where: Where
    expected: str
    seen: str
    # Lines of text that show it, for a terminal or a page; "": there is nothing to show.
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something on the timeline. `lane`: who it belongs to.

    `kind` is an event name of the scenario format (`response`, `bot_started_speaking`, …) or one of
    the phone's or the model's own; `text` is what was said, if anything was.
    """

    at: float
    lane: Literal["caller", "agent", "tool", "model", "phone"]
    kind: str
    text: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of speech at the phone; `text` as known to who said it."""

    who: Literal["caller", "agent"]
    start: float
    end: float
    text: str = ""
    interrupted: bool = False


@dataclass(slots=True)
class Sound:
    """Both sides of the line as PCM16 at 8 kHz, from the answer on, equally long."""

    caller: bytes = b""
    agent: bytes = b""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model judged of an `eval` sentence, and why."""

    where: Where
    criterion: str
    holds: bool
    reason: str


@dataclass(slots=True)
class Replay:
    """One scenario, played once."""

    scenario: Scenario
    verdict: Verdict
    failures: list[Failure] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)
    # What helps to understand the rest: tools that failed, turns that were not played.
    notes: list[str] = field(default_factory=list)
    judged: list[Judgement] = field(default_factory=list)
    # Why the replay broke, if it did.
    problem: str = ""
    # 1 for the first of several repetitions.
    repetition: int = 1
    call_id: str = ""
    status: str = ""
    end_reason: str | None = None
    # How long the call lasted on its own clock, ringing included, and how long the replay took on
    # the wall's.
    call_secs: float = 0.0
    took_secs: float = 0.0
    timeline: list[Happened] = field(default_factory=list)
    speech: list[Stretch] = field(default_factory=list)
    # As GET /calls/{id}/transcript has it: who, text, start_ms, end_ms, interrupted.
    transcript: list[dict[str, Any]] = field(default_factory=list)
    # From the end of each caller's stretch to the agent's first sound behind it, in ms.
    response_ms: list[float] = field(default_factory=list)
    first_sound_ms: float | None = None
    gaps: int = 0
    sound: Sound = field(default_factory=Sound)
