"""Report of the cluster demo: what each caller heard, and which calls were lost."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.demo.cluster_calls import GREETING, SENTENCES, prompt_for
from server.demo.heard_words import KnownReply, heard_whole
from server.emulators.gemini_live import Session
from server.emulators.twilio import EmulatedCall

NOT_OVER = "has not ended"
LONGEST_SILENCE_SECS = 3.0
# A frozen instance is noticed when its leases have run out.
LONGEST_FROZEN_SECS = 16.0


@dataclass(slots=True)
class Struck:
    """What happened to the instances that carried a call: the words, and when, by the loop."""

    words: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def add(self, word: str, at: float) -> None:
        """Something happened to the call's instance."""
        self.words.append(word)
        self.at.append(at)


@dataclass(frozen=True, slots=True)
class Words:
    """Words of the agent's: said by the model, never heard whole, and heard more than once."""

    said: int
    lost: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Heard:
    """One call as its caller heard it; `struck` is what happened to its instances."""

    number: str
    struck: tuple[str, ...]
    streams: int
    silence_secs: float
    # From SIGKILL to the agent's next sound; None: it was not killed; inf: none came.
    back_secs: float | None
    greetings: int
    words: Words
    outcome: str

    @property
    def lost(self) -> str | None:
        """Why the call counts as lost; None when it does not."""
        if self.outcome != "completed (agent)":
            return self.outcome if self.outcome == NOT_OVER else f"ended {self.outcome}"
        if self.greetings != 1:
            return f"was greeted {self.greetings} times"
        return None

    @property
    def problem(self) -> str | None:
        """Why the call counts as lost, or as silent for too long."""
        longest = LONGEST_FROZEN_SECS if "frozen" in self.struck else LONGEST_SILENCE_SECS
        if self.lost is None and self.silence_secs > longest:
            return f"was silent for {self.silence_secs:.1f} s"
        return self.lost


def heard(
    call: EmulatedCall,
    result: Mapping[str, Any] | None,
    sessions: Sequence[Session],
    struck: Struck,
) -> Heard:
    """What the caller heard, from the emulated telephone, and the outcome, from the record.

    `result` None: the call has not ended. `sessions`: all of the emulated model's.
    """
    record = call.record
    number = int(call.order.to[5:])
    return Heard(
        number=str(number + 1),
        struck=tuple(struck.words),
        streams=len(record.all("stream.started")),
        silence_secs=longest_silence(call),
        back_secs=_back_after_kill(call, struck),
        greetings=sum(turn["text"] == GREETING for turn in result["turns"]) if result else 0,
        words=count_words(
            [
                reply
                for session in sessions
                if prompt_for(number) in _setup(session)
                for reply in _known(session, call)
            ],
            np.frombuffer(record.agent_audio, dtype="<i2"),
        ),
        outcome=f"{result['status']} ({result['end_reason']})" if result else NOT_OVER,
    )


def count_words(replies: Sequence[KnownReply], phone: NDArray[np.int16]) -> Words:
    """The words of a call. Those of a sentence that was gone on with count as one sentence."""
    said: Counter[tuple[str | int, int]] = Counter()
    heard_of: Counter[tuple[str | int, int]] = Counter()
    for number, (reply, heard) in enumerate(zip(replies, heard_whole(replies, phone), strict=True)):
        sentence, first = _place_of(reply.text) or (number, 0)
        said.update((sentence, first + index) for index in range(len(reply.words)))
        heard_of.update((sentence, first + index) for index in heard)
    return Words(
        said=len(said),
        lost=sum(not heard_of[word] for word in said),
        repeated=sum(count > 1 for count in heard_of.values()),
    )


def _place_of(text: str) -> tuple[str, int] | None:
    """The sentence whose end this is, and the number of its first word in it."""
    words = text.split()
    for sentence in SENTENCES:
        whole = sentence.split()
        if whole[-len(words) :] == words:
            return sentence, len(whole) - len(words)
    return None


def _setup(session: Session) -> str:
    return json.dumps(session.setup)


def _known(session: Session, call: EmulatedCall) -> list[KnownReply]:
    """What a session's model said, in seconds of the call."""
    if call.line is None:
        return []
    answered = call.line.answered_at
    return [
        KnownReply(reply.text, reply.voice, reply.started_at - answered, reply.secs)
        for reply in session.log.replies
    ]


def _back_after_kill(call: EmulatedCall, struck: Struck) -> float | None:
    if "killed" not in struck.words or call.line is None:
        return None
    killed = struck.at[struck.words.index("killed")] - call.line.answered_at
    starts = [span.start_secs for span in call.record.agent_speech(pause_secs=0.1)]
    return next((start - killed for start in starts if start > killed), inf)


def longest_silence(call: EmulatedCall) -> float:
    """The longest time in which neither side was heard, between two sounds; in seconds."""
    spans = [*call.record.agent_speech(), *call.record.caller_speech()]
    longest, until = 0.0, inf
    for span in sorted(spans, key=lambda span: span.start_secs):
        longest = max(longest, span.start_secs - until)
        until = span.end_secs if until == inf else max(until, span.end_secs)
    return longest


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank: p95 of ten is the last)."""
    return sorted(values)[ceil(share * len(values)) - 1]
