"""RememberCaller: makes turns of the caller's transcript, and adds them to the conversation.

The model's transcripts come upstream in pieces, some of them late; the times come from the
stretches in which the caller spoke. What was said before the agent began to answer is one turn. It
ends when the answer was heard or interrupted, so that it still gets late words.

    caller    ████ ██████                 ███
    words        ..what are ..your hours?     ..thank you
    agent                 ▒▒▒▒▒▒▒▒▒▒▒▒           ▒▒▒▒
    turns     |--------- 1            ^ over  |- 2   ^ over
"""

from collections.abc import Callable

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from agent.conversation import Conversation
from agent.ports import SpokenTurn
from agent.record.models import Speaker
from processors.direct import DirectProcessor
from processors.frames import TurnAgainFrame, TurnFrame

# Speech this shortly before the agent's end is the beginning of the caller's answer.
OVER_THE_END_SECS = 1.5

# Seconds on the call's clock.
StretchesSince = Callable[[float], list[tuple[float, float]]]


class RememberCaller(DirectProcessor):
    """Collects `TranscriptionFrame`s into `TurnFrame`s, which go downstream.

    `stretches_since` returns when the caller spoke, `ms` converts the clock to ms from answer.
    """

    def __init__(
        self,
        conversation: Conversation,
        stretches_since: StretchesSince,
        ms: Callable[[float], int],
    ) -> None:
        super().__init__()
        self._conversation = conversation
        self._stretches_since = stretches_since
        self._ms = ms
        self._text = ""
        # The words that come next replace those that are here.
        self._again = False
        self._first_words_at = 0.0
        self._began_after = 0.0
        self._answered_at: float | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect words; end the turn when its answer is over. Every frame passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            if not self._text:
                self._first_words_at = self._now()
            self._text = frame.text if self._again else _joined(self._text, frame.text)
            self._again = False
        elif isinstance(frame, TurnAgainFrame):
            self._again = bool(self._text)
        elif isinstance(frame, BotStartedSpeakingFrame):
            if self._answered_at is None:
                self._answered_at = self._now()
        elif isinstance(frame, BotStoppedSpeakingFrame | InterruptionFrame):
            if self._answered_at is not None:
                await self._close()
            if isinstance(frame, BotStoppedSpeakingFrame):
                # Speech over the agent that did not interrupt it starts no turn, except at its end.
                self._began_after = max(self._began_after, self._now() - OVER_THE_END_SECS)
        elif isinstance(frame, EndFrame | CancelFrame):
            await self._close()
        await self.push_frame(frame, direction)

    async def _close(self) -> None:
        until = self._answered_at if self._answered_at is not None else self._now()
        stretches = [
            (start, end) for start, end in self._stretches_since(self._began_after) if start < until
        ]
        text = " ".join(self._text.split())
        self._text, self._answered_at, self._began_after = "", None, until
        self._again = False
        if not text:
            return
        start = stretches[0][0] if stretches else min(self._first_words_at, until)
        end = stretches[-1][1] if stretches else start
        turn = SpokenTurn(Speaker.CALLER, text, self._ms(start), self._ms(end))
        self._conversation.add(turn)
        await self.push_frame(TurnFrame(turn))

    def _now(self) -> float:
        return self.get_event_loop().time()


def _joined(text: str, piece: str) -> str:
    """Pieces bring their own spaces, but not always between two sentences."""
    parts = text.endswith((".", "!", "?")) and piece[:1].isalpha()
    return f"{text} {piece}" if parts else text + piece
