"""Our own frames; all others are Pipecat's."""

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame

from agent.ports import SpokenTurn


@dataclass
class TurnFrame(SystemFrame):
    """A turn that is over, as it was heard. A system frame: no interruption may drop it."""

    turn: SpokenTurn
