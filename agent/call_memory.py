"""CallMemory: what another instance has to know of a call to go on with it in the middle.

    owner      keep (a turn, a reply; else once a second) ─▶ CallMemories ─▶ recall      next owner

It is no record: it expires, and may be lost. The record keeps the transcript.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from agent.ports import SpokenTurn
from agent.record.models import Speaker

# Of a longer conversation, the newest part is kept: about twenty minutes.
MOST_CONVERSATION = 16_000
MOST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Speech:
    """The agent's words on their way to the caller's ear; times in seconds since the epoch."""

    text: str
    heard_from: float
    heard_until: float
    # The model generates more of it.
    goes_on: bool = False

    def heard_by(self, now: float) -> str:
        """The words heard by then, assuming an even pace; whole words only."""
        length = self.heard_until - self.heard_from
        share = 1.0 if length <= 0 else (now - self.heard_from) / length
        if share >= 1:
            return self.text
        cut = self.text[: max(0, round(len(self.text) * share))]
        return cut.rsplit(" ", 1)[0].strip() if " " in cut else ""


@dataclass(frozen=True, slots=True)
class CallMemory:
    """One call, as its owner last saw it."""

    # Seconds since the epoch.
    answered_at: float = 0.0
    # Gemini's resume handle.
    handle: str | None = None
    # The turns heard so far, one a line.
    conversation: str = ""
    # Turns that are over, and that the handle may not cover.
    lately: tuple[str, ...] = ()
    # What the caller said in the turn that is owed, as far as it was transcribed.
    asked: str = ""
    # When they said it, in seconds since the epoch.
    asked_from: float = 0.0
    asked_until: float = 0.0
    speech: Speech | None = None
    # What a supervisor has told the model.
    hints: tuple[str, ...] = ()
    # `asked` and `speech` were recorded by the instance that took the call.
    recorded: bool = False
    # The call was moved while neither side spoke: nothing broke off, and nobody has to be told.
    quiet: bool = False
    # What was changed of the model; None: as the call's record has it. Tools are names.
    system_prompt: str | None = None
    voice: str | None = None
    tools: tuple[str, ...] | None = None

    def heard_by(self, now: float) -> str | None:
        """The words heard of a reply that broke off; None when nothing broke off."""
        if self.speech is None:
            return None
        heard = self.speech.heard_by(now)
        return heard if self.speech.goes_on or heard != self.speech.text else None

    def lost_turns(self, now: float) -> list[SpokenTurn]:
        """The turns that went on when the owner was lost, as far as they were heard."""
        turns = []
        if self.asked:
            times = self._ms(self.asked_from), self._ms(self.asked_until)
            turns.append(SpokenTurn(Speaker.CALLER, self.asked, *times))
        if self.speech is not None and (heard := self.speech.heard_by(now)):
            until = min(now, self.speech.heard_until)
            times = self._ms(self.speech.heard_from), self._ms(until)
            cut = self.heard_by(now) is not None
            turns.append(SpokenTurn(Speaker.AGENT, heard, *times, interrupted=cut))
        return turns

    def _ms(self, time: float) -> int:
        return max(0, round((time - self.answered_at) * 1000))

    def bounded(self) -> "CallMemory":
        """The same, with no text longer than what is kept."""
        speech = self.speech
        if speech is not None and len(speech.text) > MOST_TEXT:
            speech = replace(speech, text=speech.text[:MOST_TEXT])
        return replace(
            self,
            conversation=_newest_lines(self.conversation, MOST_CONVERSATION),
            lately=tuple(line[-MOST_TEXT:] for line in self.lately),
            asked=self.asked[-MOST_TEXT:],
            speech=speech,
            hints=tuple(hint[-MOST_TEXT:] for hint in self.hints[-10:]),
        )

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "CallMemory":
        """The memory of this text; names that are not known are left out.

        Raises: ValueError, TypeError.
        """
        values = json.loads(text)
        speech = values.pop("speech", None)
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        for name in ("lately", "hints"):
            known[name] = tuple(known.get(name, ()))
        if known.get("tools") is not None:
            known["tools"] = tuple(known["tools"])
        return cls(**known, speech=Speech(**speech) if speech else None)


class CallMemories(Protocol):
    """The memories of all calls that instances share. Methods raise `RedisError`."""

    async def keep(self, memories: Mapping[str, tuple[int, CallMemory]]) -> None:
        """Keep each call's memory, unless a higher fencing number than its own was given out."""
        ...

    async def recall(self, call_id: str) -> CallMemory | None:
        """What is kept of a call; None when there is nothing, or it cannot be read."""
        ...

    async def forget(self, call_id: str) -> None:
        """The call is over."""
        ...


def _newest_lines(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[-most:].partition("\n")[2] or text[-most:]
