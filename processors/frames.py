"""Our own frames; all others are Pipecat's."""

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
    """A turn that is over, as it was heard. A system frame: no interruption may drop it."""

    turn: SpokenTurn


@dataclass
class LateTextFrame(TTSTextFrame):
    """Words of the agent's that came after their turn was over."""


# What steps tell each other of the conversation. Pipecat's own ends of a pipeline do nothing with
# it, so the first and the last step let it go no further.
OF_THE_CONVERSATION = (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TranscriptionFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TurnFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
