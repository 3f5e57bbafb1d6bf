"""ReplyState: state machine of the model's replies; turns Live API events into frames.

                words, sound                sound
    QUIET, OVER ────────────▶ REPLYING ──────────────▶ SOUNDING
                    ▲             ▲ ◀── generation complete ┘ │
                    │             └──────── turn complete ────┴──▶ OVER
                    └── interrupted ──▶ QUIET

In OVER, words without sound may still belong to the turn that is over. They wait: if a reply
begins, they are its first words; `settle` adds them to the previous turn.
"""

from collections.abc import Sequence
from enum import Enum, auto

from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from processors.frames import LateTextFrame


class Phase(Enum):
    """Phase of the model's reply."""

    # No reply; the next words begin one.
    QUIET = auto()
    # A turn was completed, and nothing has prompted the model since.
    OVER = auto()
    REPLYING = auto()
    SOUNDING = auto()


class ReplyState:
    """Takes one call's events in order; returns the frames to push."""

    def __init__(self) -> None:
        self.phase = Phase.QUIET
        # The words of the reply, as far as they are known.
        self.text = ""
        # The agent was heard in this call.
        self.has_spoken = False
        # What the caller said in the turn that is, or was last, answered.
        self.asked = ""
        # The words of a reply that a lost session left unfinished; None when there is none.
        self.broken_off: str | None = None
        self._is_generated = False
        # What the caller said since the last reply.
        self.unanswered = ""
        # The caller's audio was sent again, and is transcribed anew.
        self._again = False
        # What a lost session had said of this reply.
        self._before = ""
        self._late = ""

    @property
    def is_replying(self) -> bool:
        """A reply has begun and its turn is not over."""
        return self.phase in (Phase.REPLYING, Phase.SOUNDING)

    @property
    def is_unfinished(self) -> bool:
        """A reply was begun, here or in a session that is lost, and not generated to its end."""
        return self.broken_off is not None or (self.is_replying and not self._is_generated)

    @property
    def unfinished(self) -> str | None:
        """The words of the reply that `is_unfinished`."""
        if not self.is_replying:
            return self.broken_off
        return None if self._is_generated else self._all_said

    @property
    def expects_words_again(self) -> bool:
        """The caller's audio was sent again, and is transcribed anew."""
        return self._again

    @property
    def has_late_words(self) -> bool:
        """Words wait for `settle`, or for a reply to begin."""
        return bool(self._late)

    def prompted(self) -> None:
        """The model was sent something that it may reply to."""
        if self.phase is Phase.OVER:
            self.phase = Phase.QUIET

    def caller_said(self, text: str) -> list[Frame]:
        """A piece of the caller's transcript."""
        frames = self.settle()
        self.prompted()
        if not self.is_replying:
            self.unanswered = text if self._again else self.unanswered + text
            self._again = False
        return frames

    def heard_again(self) -> None:
        """The caller's audio is sent again: what is transcribed next replaces what was."""
        self._again = True

    def sound(self) -> Sequence[Frame]:
        """A piece of the model's speech; the frames are pushed before it."""
        self.has_spoken = True
        if self.phase is Phase.SOUNDING:
            return ()
        frames = self._begin()
        self.phase = Phase.SOUNDING
        return [*frames, TTSStartedFrame()]

    def words(self, text: str) -> list[Frame]:
        """A piece of the model's transcript."""
        if self.phase is Phase.OVER:
            self._late += text
            return []
        frames = self._begin()
        self.text += text
        return [*frames, _said(text, TTSTextFrame)]

    def settle(self) -> list[Frame]:
        """Add waiting words to the previous turn."""
        late, self._late = self._late, ""
        return [_said(late, LateTextFrame)] if late else []

    def interrupted(self) -> None:
        """The caller interrupted the reply; waiting words are dropped."""
        self.phase = Phase.QUIET
        self._late = ""
        self.broken_off = None

    def generated(self) -> list[Frame]:
        """The model has generated the whole reply: no more sound comes."""
        self._is_generated = True
        if self.phase is not Phase.SOUNDING:
            return []
        self.phase = Phase.REPLYING
        return [TTSStoppedFrame()]

    def completed(self) -> list[Frame]:
        """The turn is over."""
        stopped = [TTSStoppedFrame()] if self.phase is Phase.SOUNDING else []
        self.phase = Phase.OVER
        return [*stopped, LLMFullResponseEndFrame()]

    def reconnected(self) -> list[Frame]:
        """A new session took over: the frames that end the previous session's reply."""
        frames = self.settle()
        if self.is_replying:
            if not self._is_generated:
                self.broken_off = self._all_said
            frames += self.completed()
        self.phase = Phase.QUIET
        return frames

    @property
    def _all_said(self) -> str:
        return f"{self._before} {self.text}".strip()

    def _begin(self) -> list[Frame]:
        if self.is_replying:
            return []
        self.phase = Phase.REPLYING
        self._is_generated = False
        if self.unanswered or self.broken_off is None:
            self.asked = self.unanswered
        self._before, self.broken_off = self.broken_off or "", None
        self.unanswered, self._again = "", False
        self.text, self._late = self._late, ""
        begun: list[Frame] = [LLMFullResponseStartFrame()]
        return [*begun, _said(self.text, TTSTextFrame)] if self.text else begun


def _said(text: str, kind: type[TTSTextFrame]) -> TTSTextFrame:
    frame = kind(text, text_type=TextType.SENTENCE)
    frame.includes_inter_frame_spaces = True
    return frame
