"""Keypad: sends key presses to the model as one line of text, once the caller stops pressing."""

import asyncio

from pipecat.frames.frames import Frame, InputDTMFFrame, InputTextRawFrame
from pipecat.processors.frame_processor import FrameDirection

from agent.model_instructions import KEYS_PRESSED
from processors.direct import DirectProcessor


class Keypad(DirectProcessor):
    """Collects digits until `#` or a pause of `pause_secs`, and pushes a text for them.

    After `most` digits a text is pushed anyway, in case of a stuck key.
    """

    def __init__(self, pause_secs: float = 1.5, most: int = 32) -> None:
        super().__init__()
        self._pause_secs = pause_secs
        self._most = most
        self._digits = ""
        self._timer: asyncio.TimerHandle | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect keys; pass every frame, keys too."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame):
            await self._press(frame.button.value)

    async def cleanup(self) -> None:
        """Stop the timer: the call is over."""
        self._stop_timer()
        await super().cleanup()

    async def _press(self, digit: str) -> None:
        self._stop_timer()
        self._digits += digit
        if digit == "#" or len(self._digits) >= self._most:
            await self._send()
        else:
            self._timer = self.get_event_loop().call_later(self._pause_secs, self._paused)

    def _paused(self) -> None:
        self._timer = None
        self.create_task(self._send(), name="keys")

    async def _send(self) -> None:
        digits, self._digits = self._digits, ""
        if not digits:
            return  # sent by `#` while the pause ran out
        spelled = " ".join(digits)
        await self.push_frame(InputTextRawFrame(KEYS_PRESSED.format(spelled)))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
