"""LastWords: waits until the agent's last words were heard, as Twilio's marks confirm.

expect ── the turn ends, or silence for 8 s ──▶ all is heard, or silence for 3 s ──▶ done
"""

import asyncio
import contextlib
from collections.abc import Callable

from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback

# How long the model may take to begin its last words, and how late the last mark may be.
WORDS_WITHIN_SECS = 8.0
MARK_WITHIN_SECS = 3.0


class LastWords:
    """Hears the model's turns begin and end, and the playback progress."""

    def __init__(self, line: PhoneLine, playback: Playback) -> None:
        self._line = line
        self._playback = playback
        self._turn_ended = False
        # A turn goes on; the model was told something, and its turn about that is still to come.
        self._in_a_turn = False
        self._asked = False
        # The turn that goes on, or comes next, may be the one with the last words.
        self._last_turn = True
        # Set when the last words may have been heard: a turn is over, or playback has moved on.
        self._may_be_heard = asyncio.Event()
        playback.on_progress = self._may_be_heard.set

    def turn_started(self) -> None:
        """The model begins to speak."""
        self._last_turn = self._in_a_turn = True
        self._asked = False

    def turn_ended(self) -> None:
        """The model has said what it had to say."""
        self._in_a_turn = False
        if self._last_turn:
            self._turn_ended = True
            self._may_be_heard.set()

    def interrupted(self) -> None:
        """The caller interrupted the model: it says no more."""
        self._in_a_turn = self._asked = False

    def asked(self) -> None:
        """The model was told something that it says in its next turn."""
        self._asked = True

    def expect(self, *, in_a_new_turn: bool) -> None:
        """Words that were asked for come in a turn of their own, behind one that goes on."""
        self._turn_ended = False
        self._last_turn = not in_a_new_turn

    def expect_what_is_being_said(self) -> None:
        """The last words are those that are on their way; there may be none."""
        self.expect(in_a_new_turn=self._asked)
        self._turn_ended = not self._in_a_turn and not self._asked

    async def heard(self) -> bool:
        """Wait for the end of the words; False when no mark confirms that all of it was heard."""
        await self._until(lambda: self._turn_ended, WORDS_WITHIN_SECS)
        return await self._until(lambda: self._playback.idle, MARK_WITHIN_SECS)

    async def _until(self, reached: Callable[[], bool], silence_secs: float) -> bool:
        """Wait for a state; give up after so long without any sound of the agent."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not reached():
            quiet_since = max(began, self._playback.last_sound or 0.0)
            left_secs = quiet_since + silence_secs - loop.time()
            if left_secs <= 0 or not self._line.bound:
                return False
            self._may_be_heard.clear()
            with contextlib.suppress(TimeoutError):
                # Less may be too little for the clock to move.
                await asyncio.wait_for(self._may_be_heard.wait(), max(left_secs, 0.001))
        return True
