"""RecordTurns: writes every finished turn to the call's record."""

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from agent.ports import Record
from processors.direct import DirectProcessor
from processors.frames import TurnFrame


class RecordTurns(DirectProcessor):
    """Writes the turns of `TurnFrame`s to the record, unless they have no words."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record turns; pass every frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TurnFrame) and frame.turn.text:
            self._record.turn(frame.turn)
        await self.push_frame(frame, direction)
