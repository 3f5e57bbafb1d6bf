"""Every finished turn goes into the call's record."""

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from agent.ports import Record
from processors.direct import DirectProcessor
from processors.frames import TurnFrame


class RecordTurns(DirectProcessor):
    """Hands the turns of `TurnFrame`s that hold words to the record."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Keep turns; everything passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TurnFrame) and frame.turn.text:
            self._record.turn(frame.turn)
        await self.push_frame(frame, direction)
