"""AgentTrack: the agent's side of a recording, placed where the caller heard it. No clock, no I/O.

    sent         |=====|==|            appended where `Playback` expects it to be heard
    heard        ....^                 everything after this may still change
    taken back       xxxx              was never heard: it is removed
    late         ..|=====|==|          a mark came later than its jitter: the run moves

Speech queued without a break is one run, and stays together. Time is a count of samples (8 kHz, one
byte of mu-law each) since the answer, given with each method call.
"""

from pipelines.rates import PACKET_BYTES, PHONE_RATE
from pipelines.recording.mulaw_buffer import SILENCE, take_front

# Twilio drops what would wait for longer (its error 31931).
MOST_AHEAD = 600 * PHONE_RATE
# Positions are rounded, by so many samples at most; a break in the queue is longer.
ROUNDING = 2
# Jitter of marks; a run that was taken in part moves only when it is later than `LATE`.
JITTER = PACKET_BYTES
LATE = 3 * PACKET_BYTES


class AgentTrack:
    """The agent's audio as heard, from sample `taken` on."""

    def __init__(self) -> None:
        self.taken = 0
        self._sound = bytearray()
        # Where the newest run begins.
        self._run_from = 0
        # How much later than its place here the newest run is heard.
        self._behind = 0

    @property
    def end(self) -> int:
        """Sample at which the audio ends."""
        return self.taken + len(self._sound)

    def prepare(self, payload: bytes) -> None:
        """Append speech made before the answer: it is heard from there on."""
        self._append(payload)

    def send(self, payload: bytes, ends: int) -> None:
        """Append speech whose end is heard at `ends`."""
        start = ends - len(payload) - self._behind
        if start > self.end + ROUNDING:
            start += self._behind
            self._behind = 0
            self._append(SILENCE * (start - self.end))
            self._run_from = start
        self._append(payload)

    def delay(self, by: int) -> None:
        """Delay the newest run: it is heard later than expected, by this much more."""
        if not self._sound:
            return
        self._behind += by
        whole = self._run_from >= self.taken
        if self._behind <= (JITTER if whole else LATE):
            return
        at = self._run_from if whole else self.taken
        self._sound[at - self.taken : at - self.taken] = SILENCE * self._behind
        self._run_from += self._behind if whole else 0
        self._behind = 0

    def take_back(self, now: int) -> None:
        """Remove what was not heard by `now`."""
        heard = max(0, now - self._behind - self.taken)
        self._behind = 0
        del self._sound[heard:]

    def take(self, to: int) -> bytes:
        """Remove and return the audio up to `to`, filled with silence."""
        count, self.taken = to - self.taken, to
        return take_front(self._sound, count)

    def _append(self, sound: bytes) -> None:
        if len(self._sound) + len(sound) <= MOST_AHEAD:
            self._sound += sound
