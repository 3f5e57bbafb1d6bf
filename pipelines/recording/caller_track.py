"""The caller's side of a recording: packets of 20 ms, laid end to end. No clock, no I/O.

A packet's place is told by counting, since its arrival wavers. The clock corrects the count:

    early   sound cannot come before it was made: the packets counted from came late, and all
            since then moves back, into the silence before it
    late    all of them for long, and packets are missing: silence is put where they were; a burst
            makes up for a stall
    lost    the stream is gone: the first packet of the next one is placed by the clock

Time is a count of samples (8 kHz, one byte of mu-law each) since the answer, and comes in with each
call.
"""

from dataclasses import dataclass

from pipelines.rates import PACKET_BYTES, PHONE_RATE
from pipelines.recording.mulaw_buffer import SILENCE, take_front

# So much later than counted is no jitter.
LATE = 3 * PACKET_BYTES
# For so long every packet must have been late; so much sound, and so long, tell where counting
# begins.
SURE_AFTER = PHONE_RATE
# So much earlier than counted is worth moving what came before.
EARLY = PHONE_RATE // 200
# A bound stream may be silent for so long, and then bring all that was said meanwhile.
PATIENCE = 10 * PHONE_RATE


@dataclass(slots=True)
class _Lateness:
    """Since when, and from which place on, every packet was late, and by how much at least."""

    at: int
    since: int
    least: int


class CallerTrack:
    """What the caller said, from `taken` on."""

    def __init__(self) -> None:
        self.taken = 0
        self._sound = bytearray()
        # Where counting began, and where the silence before that begins; None: the clock places.
        self._counted_from: int | None = None
        self._silent_from = 0
        # When that was.
        self._counted_at = 0
        # When the last packet came, or its stream was bound; None: there is no stream.
        self._heard_at: int | None = None
        self._lateness: _Lateness | None = None

    @property
    def end(self) -> int:
        """Where the next packet goes."""
        return self.taken + len(self._sound)

    def hear(self, payload: bytes, now: int) -> None:
        """Append a packet that came at `now`; its sound was made just before that."""
        self._heard_at = now
        late = now - len(payload) - self.end
        if self._counted_from is None:
            self._silent_from = self.end
            self._sound += SILENCE * late
            self._counted_from, self._counted_at = self.end, now
            late = now - len(payload) - self.end
        if late > LATE:
            self._note_lateness(late, now)
        else:
            self._lateness = None
            if -late > EARLY:
                payload = payload[self._move_back(-late) :]
        self._sound += payload

    def bound(self, now: int) -> None:
        """Packets of a new stream follow; the first one is placed by the clock."""
        self.lost()
        self._heard_at = now

    def lost(self) -> None:
        """No packet follows the last one."""
        self._counted_from = self._lateness = self._heard_at = None

    def settled(self, now: int) -> int:
        """Up to where nothing that may still come changes anything, apart from what is early."""
        if self._heard_at is None:
            return now
        if now - self._heard_at > PATIENCE:
            self.lost()
            return now
        if self._lateness is not None:
            return self._lateness.at
        if self._counted_from is None:
            return self.end
        counted = min(self.end - self._counted_from, now - self._counted_at)
        return self.end if counted >= SURE_AFTER else self._silent_from

    def take(self, to: int) -> bytes:
        """The sound up to `to`, filled with silence; it is kept no longer."""
        count, self.taken = to - self.taken, to
        return take_front(self._sound, count)

    def _note_lateness(self, late: int, now: int) -> None:
        lateness = self._lateness
        if lateness is None:
            self._lateness = _Lateness(self.end, now, late)
            return
        lateness.least = min(lateness.least, late)
        if now - lateness.since < SURE_AFTER:
            return
        at = max(lateness.at, self.taken)
        self._sound[at - self.taken : at - self.taken] = SILENCE * lateness.least
        self._silent_from, self._counted_from, self._counted_at = at, at + lateness.least, now
        self._lateness = None

    def _move_back(self, early: int) -> int:
        """Move what was counted; how much of the newest packet has no place any more."""
        assert self._counted_from is not None, "nothing is early before something was counted"
        silence = max(0, self._counted_from - max(self._silent_from, self.taken))
        moved = min(early, silence)
        self._delete(self._counted_from - moved, moved)
        self._counted_from -= moved
        early -= moved
        if self._counted_from == self.taken == 0:
            # What was said before the answer is no part of the call.
            gone = min(early, len(self._sound))
            self._delete(0, gone)
            return early - gone
        return early if early > LATE else 0

    def _delete(self, at: int, count: int) -> None:
        del self._sound[at - self.taken : at - self.taken + count]
