"""ReplyOutput: pushes the frames of the model's replies, and the words that come after their turn.

    turn complete ─▶ words without sound: they wait
                       ├─ a reply begins: they are its first words
                       └─ 0.4 s, or a tool call: they belong to the turn that is over

`ReplyState` decides which frames these are.
"""

import asyncio
from collections.abc import Iterator, Sequence

from pipecat.frames.frames import Frame

from pipelines.gemini.reply_state import ReplyState
from pipelines.rates import GEMINI_SPEAKS_AT
from processors.direct import DirectProcessor
from processors.sound_frames import AgentSound

# So long after a turn, words without sound may still be its own.
LATE_WORDS_SECS = 0.4
# Kept speech is said in pieces of 400 ms, which take half a millisecond to convert.
PIECE_BYTES = GEMINI_SPEAKS_AT * 2 * 2 // 5


class ReplyOutput:
    """Pushes from the model's step of one call."""

    def __init__(self, step: DirectProcessor, reply: ReplyState) -> None:
        self._step = step
        self._reply = reply
        # Settles the words that came late.
        self._settling: asyncio.TimerHandle | None = None

    async def push(self, frames: Sequence[Frame]) -> None:
        """Push what `ReplyState` has returned."""
        if self._settling is not None and not self._reply.has_late_words:
            self._settling.cancel()
            self._settling = None
        for frame in frames:
            await self._step.push_frame(frame)

    async def words(self, text: str) -> None:
        """Push a piece of the model's transcript, or have it wait when its turn is over."""
        await self.push(self._reply.words(text))
        if self._reply.has_late_words and self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(
                LATE_WORDS_SECS, lambda: self._step.create_task(self.settle(), name="late words")
            )

    async def settle(self) -> None:
        """Add the words that wait to the turn that is over."""
        await self.push(self._reply.settle())

    async def say_apart(self, pcm: bytes, words: str) -> None:
        """Push a whole sentence that no session has made (PCM16, 24 kHz), as a reply of its own."""
        reply = ReplyState()
        await self.push([*reply.words(words), *reply.sound()])
        for piece in pieces(pcm):
            await self._step.push_sound(AgentSound(piece, GEMINI_SPEAKS_AT))
            await asyncio.sleep(0)
        await self.push(reply.completed())


def pieces(pcm: bytes) -> Iterator[bytes]:
    """Kept speech in pieces, between which other calls have their turn."""
    for start in range(0, len(pcm), PIECE_BYTES):
        yield pcm[start : start + PIECE_BYTES]
