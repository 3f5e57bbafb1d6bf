"""AnswerWatch: decides what is done about silence at the phone while the caller waits.

    caller   ==speaks==|
    phone              |<-- patience -->|"One moment, please."
    action                              FILL, and a hedge
                                        |<---- twice the patience, silent ---->| GIVE_UP

It is quiet while the caller speaks, while a tool runs, and when nobody waits. Whatever is heard of
the agent starts the patience anew. A reply that stops half-way is waited for like a missing one.
"""

from dataclasses import dataclass
from enum import Enum, auto

# A sound that is sent now is heard a packet or two later.
LEAD_SECS = 0.1
# How often it is looked whether a tool still runs.
TOOL_LOOKS_EVERY_SECS = 0.25


class Action(Enum):
    """What to do about the silence."""

    NOTHING = auto()
    FILL = auto()
    GIVE_UP = auto()


@dataclass(frozen=True, slots=True)
class Silence:
    """What is heard at the phone. Times are seconds on the call's clock; None: never."""

    now: float
    caller_last: float | None
    agent_last: float | None
    caller_speaks: bool = False
    tool_runs: bool = False


class AnswerWatch:
    """Follows one call, turn by turn."""

    def __init__(self, patience_secs: float) -> None:
        """`patience_secs` 0: never do anything."""
        self._patience_secs = patience_secs
        # Since when the caller waits in this turn; None: nobody waits.
        self.waits_since: float | None = None
        # Why nothing is heard, as far as it is known.
        self.cause = "no_answer"
        # How often something was done in this turn.
        self._actions = 0
        self._filled_at = 0.0
        self._prompted = False

    @property
    def may_prompt(self) -> bool:
        """Whether a session that gave an empty turn is asked once more; once a turn."""
        waits = self._patience_secs > 0 and self.waits_since is not None
        return waits and not self._prompted

    def waits(self, since: float) -> None:
        """The caller waits for the agent: a turn begins, or goes on."""
        if self.waits_since is None:
            self._actions = 0
            self._prompted = False
            self.cause = "no_answer"
            self.waits_since = since
        self.waits_since = max(self.waits_since, since)

    def prompted(self, cause: str) -> None:
        """The session ended its turn, and nothing was heard; it was asked again."""
        self._prompted = True
        self.cause = cause

    def sounds(self) -> None:
        """A reply is heard; until it is complete, it may stop half-way."""
        self._actions = 0
        self.cause = "half_reply"

    def answered(self) -> None:
        """The reply is complete, or nobody waits for it any more."""
        self.waits_since = None

    def look(self, silence: Silence) -> tuple[Action, float | None]:
        """What to do now, and when to look again; None: when something happens."""
        if self.waits_since is None or self._patience_secs <= 0 or self._actions >= 2:
            return Action.NOTHING, None
        now = silence.now
        if silence.caller_speaks or silence.tool_runs:
            self.waits_since = now
            return Action.NOTHING, now + TOOL_LOOKS_EVERY_SECS
        times = (self.waits_since, silence.caller_last, silence.agent_last)
        since = max(time for time in times if time is not None)
        due = since + self._patience_secs - LEAD_SECS
        if self._actions:
            # The hedge has to be opened, told, and to answer.
            due = max(due, self._filled_at + 2 * (self._patience_secs - LEAD_SECS))
        if now < due - 1e-6:
            return Action.NOTHING, due
        self._actions += 1
        if self._actions == 1:
            self._filled_at = now
            return Action.FILL, now + 2 * (self._patience_secs - LEAD_SECS)
        return Action.GIVE_UP, None
