"""RememberAgent: adds the agent's turns to the conversation, as the caller heard them."""

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from agent.conversation import Conversation
from agent.record.models import Speaker
from processors.direct import DirectProcessor
from processors.frames import TurnFrame


class RememberAgent(DirectProcessor):
    """Adds the agent's `TurnFrame`s to the conversation."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._conversation = conversation

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Add the agent's turns; pass every frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TurnFrame) and frame.turn.who is Speaker.AGENT and frame.turn.text:
            self._conversation.add(frame.turn)
        await self.push_frame(frame, direction)
