"""Twilio's playout buffer: what the application sent, played in real time. No clock, no I/O.

Time is a count of samples (8 kHz) since the answer, and comes in with each call.

      append        append      clear
        |             |           |
    ----[=== reply ===]..gap..[===]xxxxxx dropped, its marks echoed at once
                    ^ mark echoed when playback reaches it

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from collections import deque
from dataclasses import dataclass

from server.emulators.twilio.mulaw import RATE, SILENCE

LONGEST_BUFFER = 600 * RATE
# A pause longer than this is a new piece of speech, not a hole in one.
LONGEST_GAP = 3 * RATE // 10


@dataclass(frozen=True, slots=True)
class Gap:
    """The buffer ran dry and then went on: a hole that the caller heard; seconds from answer.

    `after_mark`: the application had set a mark there, so it may have been a wanted end.
    """

    start_secs: float
    secs: float
    after_mark: bool


class PlayoutBuffer:
    """Plays what is appended, one sample after the other, silence when there is nothing."""

    def __init__(self) -> None:
        # Mu-law, from the answer on: what the person on the phone heard.
        self.heard = bytearray()
        self.gaps: list[Gap] = []
        self._queue: deque[bytes | str] = deque()
        self._waiting = 0
        self._dry_at: int | None = None
        self._dry_after_mark = False

    @property
    def waiting(self) -> int:
        """Samples that are still to be played."""
        return self._waiting

    def advance(self, to: int) -> list[str]:
        """Play up to sample `to`; the names of the marks reached, in order."""
        reached: list[str] = []
        left = to - len(self.heard)
        while self._queue and (left > 0 or isinstance(self._queue[0], str)):
            head = self._queue.popleft()
            if isinstance(head, str):
                reached.append(head)
                self._dry_after_mark = True
                continue
            played = head[:left]
            self.heard += played
            left -= len(played)
            self._waiting -= len(played)
            self._dry_after_mark = False
            if len(played) < len(head):
                self._queue.appendleft(head[len(played) :])
            elif not self._waiting:
                self._dry_at = len(self.heard)
        if left > 0:
            self.heard += bytes((SILENCE,)) * left
        return reached

    def append(self, audio: bytes, at: int) -> bool:
        """Queue mu-law that arrives at sample `at`; False when it was dropped: buffer full."""
        if self._waiting + len(audio) > LONGEST_BUFFER:
            return False
        if not audio:
            return True
        if self._dry_at is not None and not self._waiting:
            length = max(at, len(self.heard)) - self._dry_at
            if 0 < length <= LONGEST_GAP:
                gap = Gap(self._dry_at / RATE, length / RATE, self._dry_after_mark)
                self.gaps.append(gap)
        self._dry_at = None
        self._queue.append(audio)
        self._waiting += len(audio)
        return True

    def mark(self, name: str) -> bool:
        """Queue a mark behind what waits; True when nothing waits: it is reached already."""
        if not self._queue:
            self._dry_after_mark = True
            return True
        self._queue.append(name)
        return False

    def clear(self) -> tuple[int, list[str]]:
        """Drop what waits: how many samples, and the marks that were pending."""
        dropped = self._waiting
        marks = [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        self._waiting = 0
        self._dry_at = None
        return dropped, marks
