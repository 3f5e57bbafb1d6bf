"""CallerTrack: the caller's side of a recording, packets placed end to end. No clock, no I/O.

Counting packets gives their places, because arrival times jitter. The clock corrects the count:

    early   audio cannot arrive before it was made, so the first packets came late: everything
            since then moves back, into the silence before it
    late    for a long time: packets are missing, and silence is inserted; a burst after a stall
            is no loss
    lost    the stream is lost: the first packet of the next one is placed by the clock

Time is a count of samples (8 kHz, one byte of mu-law each) since the answer, given with each method
call.
"""

from dataclasses import dataclass

from pipelines.rates import PACKET_BYTES, PHONE_RATE
from pipelines.recording.mulaw_buffer import SILENCE, take_front

# Later than this is not jitter.
LATE = 3 * PACKET_BYTES
# How long every packet must be late before silence is inserted; how much audio, in how long, makes
# the count reliable.
RELIABLE_AFTER = PHONE_RATE
# Earlier than this moves what came before.
EARLY = PHONE_RATE // 200
# How long a bound stream may stall and then deliver all that was said meanwhile.
STALL_LIMIT = 10 * PHONE_RATE


@dataclass(slots=True)
class _Lateness:
    """Since when and which place every packet was late, and the least lateness."""

    at: int
    since: int
    least: int


class CallerTrack:
    """The caller's audio, from sample `taken` on."""

    def __init__(self) -> None:
        self.taken = 0
        self._sound = bytearray()
        # Where counting began, and where the silence before it begins; None: the clock decides.
        self._counted_from: int | None = None
        self._silent_from = 0
        # When that was.
        self._counted_at = 0
        # When the last packet came, or its stream was bound; None: there is no stream.
        self._heard_at: int | None = None
        self._lateness: _Lateness | None = None

    @property
    def end(self) -> int:
        """Sample at which the next packet is placed."""
        return self.taken + len(self._sound)

    def hear(self, payload: bytes, now: int) -> None:
        """Append a packet that arrived at `now`; its audio ends then."""
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
        """A new stream was bound; its first packet is placed by the clock."""
        self.lost()
        self._heard_at = now

    def lost(self) -> None:
        """The stream is lost: no packet follows the last one."""
        self._counted_from = self._lateness = self._heard_at = None

    def settled(self, now: int) -> int:
        """Sample up to which later packets change nothing, except early ones."""
        if self._heard_at is None:
            return now
        if now - self._heard_at > STALL_LIMIT:
            self.lost()
            return now
        if self._lateness is not None:
            return self._lateness.at
        if self._counted_from is None:
            return self.end
        counted = min(self.end - self._counted_from, now - self._counted_at)
        return self.end if counted >= RELIABLE_AFTER else self._silent_from

    def take(self, to: int) -> bytes:
        """Remove and return the audio up to `to`, filled with silence."""
        count, self.taken = to - self.taken, to
        return take_front(self._sound, count)

    def _note_lateness(self, late: int, now: int) -> None:
        lateness = self._lateness
        if lateness is None:
            self._lateness = _Lateness(self.end, now, late)
            return
        lateness.least = min(lateness.least, late)
        if now - lateness.since < RELIABLE_AFTER:
            return
        at = max(lateness.at, self.taken)
        self._sound[at - self.taken : at - self.taken] = SILENCE * lateness.least
        self._silent_from, self._counted_from, self._counted_at = at, at + lateness.least, now
        self._lateness = None

    def _move_back(self, early: int) -> int:
        """Move the counted packets back; return how many bytes of the newest packet to drop."""
        assert self._counted_from is not None, "nothing is early before something was counted"
        silence = max(0, self._counted_from - max(self._silent_from, self.taken))
        moved = min(early, silence)
        self._delete(self._counted_from - moved, moved)
        self._counted_from -= moved
        early -= moved
        if self._counted_from == self.taken == 0:
            # What was said before the answer is not part of the call.
            gone = min(early, len(self._sound))
            self._delete(0, gone)
            return early - gone
        return early if early > LATE else 0

    def _delete(self, at: int, count: int) -> None:
        del self._sound[at - self.taken : at - self.taken + count]
