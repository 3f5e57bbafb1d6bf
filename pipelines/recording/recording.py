"""Recording of one call: both sides as mu-law, on one timeline that starts at the answer.

    line     ──▶ caller's packets ──▶ CallerTrack ─┐
    output   ──▶ speech, and when it is heard ──▶ AgentTrack ─┤
    playback ──▶ what was late, lost, taken back ──┘          └─▶ take() ──▶ the writer

A packet is only appended to a buffer: nothing here waits, encodes or writes. Audio older than
`HOLD_SECS` no longer changes; `take` returns it in order and without gaps. The recording stops when
the writer falls too far behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pipelines.rates import PHONE_RATE
from pipelines.recording.agent_track import AgentTrack
from pipelines.recording.caller_track import CallerTrack

# How late a mark or a packet may still change the recording.
HOLD_SECS = 2.0
# A stream lost for longer is recorded as silence; a call that ends sooner ended with the stream.
LOST_FOR_SECS = 10.0
# Limit of what may wait to be taken.
HELD_AT_MOST_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of a recording: equally many bytes of mu-law of both sides, one for each sample."""

    start: int
    caller: bytes
    agent: bytes


class State(Enum):
    """State of a recording; each follows only those above it."""

    RINGING = "ringing"
    RUNNING = "running"
    # The call is over; its end was not taken yet.
    ENDING = "ending"
    # Nothing more is recorded, nor will be taken.
    OVER = "over"


class Recording:
    """Records one call from its answer to its end, for `longest_secs` at most.

    `clock` is the one of the line and of its playback. `on_change` is called when the call ends,
    and when the recording stops because the writer is too slow.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        longest_secs: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._longest = round(longest_secs * PHONE_RATE)
        self._on_change = on_change
        self._caller = CallerTrack()
        self._agent = AgentTrack()
        self._answered_at: float | None = None
        # Where the last stream was lost, until another is bound.
        self._lost_at: int | None = None
        self._end = 0
        self.state = State.RINGING
        # It has reached its longest length.
        self.full = False
        # The writer was too slow.
        self.overflowed = False

    @property
    def taken_secs(self) -> float:
        """Seconds of the call that were taken."""
        return self._caller.taken / PHONE_RATE

    @property
    def held_bytes(self) -> int:
        """Bytes in memory: audio to be taken, and speech that was not heard yet."""
        tracks = self._caller, self._agent
        return sum(track.end - track.taken for track in tracks)

    def bound(self) -> None:
        """A stream was bound to the line; the first one is the answer."""
        if self.state is State.RINGING:
            self._answered_at = self._clock()
            self.state = State.RUNNING
        self._caller.bound(self._now())
        self._lost_at = None

    def lost(self) -> None:
        """The stream is lost; `taken_back` has removed what was not heard."""
        if self.state is State.RUNNING:
            self._lost_at = self._now()
            self._caller.lost()

    def caller(self, payload: bytes) -> None:
        """Add the caller's mu-law that arrived now."""
        if self.state is State.RUNNING and (now := self._now_with_room()) is not None:
            self._caller.hear(payload, now)

    def agent(self, payload: bytes, ends: float | None) -> None:
        """Add the agent's mu-law that was sent; its end is heard at `ends` of the clock."""
        if self.state is State.RINGING:
            self._agent.prepare(payload)
        elif self.state is State.RUNNING and ends is not None and self._now_with_room() is not None:
            self._agent.send(payload, self._samples(ends))

    def late(self, secs: float) -> None:
        """Delay speech that is heard later than its `ends`, by this much more."""
        if self.state is State.RUNNING:
            self._agent.delay(round(secs * PHONE_RATE))

    def taken_back(self) -> None:
        """Remove speech that was not heard by now."""
        if self.state in (State.RINGING, State.RUNNING):
            self._agent.take_back(self._now())

    def close(self) -> None:
        """End the recording, at the end of the last stream or now. Safe to repeat."""
        if self.state is State.RUNNING:
            self._end = self._now() if self._lost_at is None else self._lost_at
            self.state = State.ENDING
            self._on_change()
        elif self.state is State.RINGING:
            self.give_up()
            self._on_change()

    def give_up(self) -> None:
        """Stop recording, and drop what was not taken."""
        self.state = State.OVER
        taken = self._caller.taken
        self._caller, self._agent = CallerTrack(), AgentTrack()
        self._caller.taken = self._agent.taken = taken

    def take(self) -> Cut | None:
        """Remove and return what no longer changes; None when there is nothing."""
        start = self._caller.taken
        if self.state is State.RUNNING:
            end = self._settled(self._now())
        elif self.state is State.ENDING:
            end = max(start, self._end)
        else:
            return None
        self.full = end >= self._longest
        end = min(end, self._longest)
        cut = None
        if end > start:
            cut = Cut(start, self._caller.take(end), self._agent.take(end))
        if self.full or self.state is State.ENDING:
            self.give_up()
        return cut

    def _settled(self, now: int) -> int:
        if self._lost_at is not None and now - self._lost_at <= LOST_FOR_SECS * PHONE_RATE:
            now = self._lost_at
        return min(self._caller.settled(now), now - round(HOLD_SECS * PHONE_RATE))

    def _now_with_room(self) -> int | None:
        now = self._now()
        if now - self._caller.taken <= HELD_AT_MOST_SECS * PHONE_RATE:
            return now
        self.overflowed = True
        self.give_up()
        self._on_change()
        return None

    def _now(self) -> int:
        return self._samples(self._clock())

    def _samples(self, time: float) -> int:
        """Convert a time of the clock to samples from the answer; 0 before it."""
        if self._answered_at is None:
            return 0
        return max(0, round((time - self._answered_at) * PHONE_RATE))
