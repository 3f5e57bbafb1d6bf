"""Our own frames; all others are Pipecat's."""

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame, TTSTextFrame

from agent.ports import SpokenTurn


@dataclass
class TurnFrame(SystemFrame):
    """A turn that is over, as it was heard. A system frame: no interruption may drop it."""

    turn: SpokenTurn


@dataclass
class LateTextFrame(TTSTextFrame):
    """Words of the agent's that came after their turn was over."""
