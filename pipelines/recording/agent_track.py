"""The agent's side of a recording: its speech where it is at the ear. No clock, no I/O.

    sent         |=====|==|            appended where `Playback` books it, ahead of the ear
    ear          ....^                 everything behind it may still change
    taken back       xxxx              was never heard: it goes
    late         ..|=====|==|          a mark came later than it wavers: the run moves

Sound that is queued without a break is one run, and stays one. Time is a count of samples (8 kHz,
one byte of mu-law each) since the answer, and comes in with each call.
"""

from pipelines.rates import PACKET_BYTES, PHONE_RATE
from pipelines.recording.mulaw_buffer import SILENCE, take_front

# Twilio drops what would wait for longer (its error 31931).
MOST_AHEAD = 600 * PHONE_RATE
# Bookings are rounded, by so many samples at most; a break in the queue is longer.
ROUNDING = 2
# Marks waver by so much; a run that was taken in part moves only when it is later than `LATE`.
WAVERING = PACKET_BYTES
LATE = 3 * PACKET_BYTES


class AgentTrack:
    """What the caller hears of the agent, from `taken` on."""

    def __init__(self) -> None:
        self.taken = 0
        self._sound = bytearray()
        # Where the newest run begins.
        self._run_from = 0
        # How much later than its place here the newest run is at the ear.
        self._behind = 0

    @property
    def end(self) -> int:
        """Where the last sound ends."""
        return self.taken + len(self._sound)

    def prepare(self, payload: bytes) -> None:
        """Append speech that is heard from the answer on."""
        self._append(payload)

    def send(self, payload: bytes, ends: int) -> None:
        """Append speech whose end is at the ear at `ends`."""
        start = ends - len(payload) - self._behind
        if start > self.end + ROUNDING:
            start += self._behind
            self._behind = 0
            self._append(SILENCE * (start - self.end))
            self._run_from = start
        self._append(payload)

    def delay(self, by: int) -> None:
        """The newest run is at the ear later than booked, by this much more."""
        if not self._sound:
            return
        self._behind += by
        whole = self._run_from >= self.taken
        if self._behind <= (WAVERING if whole else LATE):
            return
        at = self._run_from if whole else self.taken
        self._sound[at - self.taken : at - self.taken] = SILENCE * self._behind
        self._run_from += self._behind if whole else 0
        self._behind = 0

    def take_back(self, now: int) -> None:
        """What is not at the ear by `now` never will be."""
        heard = max(0, now - self._behind - self.taken)
        self._behind = 0
        del self._sound[heard:]

    def take(self, to: int) -> bytes:
        """The sound up to `to`, filled with silence; it is kept no longer."""
        count, self.taken = to - self.taken, to
        return take_front(self._sound, count)

    def _append(self, sound: bytes) -> None:
        if len(self._sound) + len(sound) <= MOST_AHEAD:
            self._sound += sound
