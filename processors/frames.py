"""Frames that Pipecat does not have: finished turns and late words."""

from dataclasses import dataclass

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    SystemFrame,
    TranscriptionFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)

from agent.ports import SpokenTurn


@dataclass
class TurnFrame(SystemFrame):
    """A finished turn, as it was heard. A system frame, so that no interruption drops it."""

    turn: SpokenTurn


@dataclass
class LateTextFrame(TTSTextFrame):
    """Words of the agent that came after their turn was over."""


@dataclass
class TurnAgainFrame(SystemFrame):
    """The caller's turn is sent to another session: its words come again, and replace these."""


# Frames that only our steps use. The first and the last step stop them, because Pipecat's own
# source and sink do nothing with them.
OF_THE_CONVERSATION = (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TranscriptionFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TurnAgainFrame,
    TurnFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
