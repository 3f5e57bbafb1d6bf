"""What the caller heard of the agent becomes part of the conversation, and nothing else does."""

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from agent.conversation import Conversation
from agent.record.models import Speaker
from processors.direct import DirectProcessor
from processors.frames import TurnFrame


class RememberAgent(DirectProcessor):
    """Adds the agent's `TurnFrame`s, which hold what was heard, to the conversation."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take in the agent's turns; everything passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TurnFrame) and frame.turn.who is Speaker.AGENT and frame.turn.text:
            self._conversation.add(frame.turn)
        await self.push_frame(frame, direction)
