"""UnkeptAudio: ring of the caller's audio since the last point that a session is known to keep.

Packets have numbers that only grow. Each connection remembers the number that it is sent next, so
that one that replaces it can be sent what the first one took with it.

    packets   |......|==question==|........|=and=|....
              ^ first kept        ^ answered     ^ end
                                  a handle that comes now covers what is before it

Nothing here knows the time: where speech begins is read from the packets' levels, and only when it
is asked for (once a turn, and when a connection breaks).
"""

from collections import deque
from itertools import islice

from processors.noise_floor import sound_level

PACKET_BYTES = 640  # 20 ms of PCM16 at 16 kHz
# Of more, the oldest is dropped: nobody repeats a question that long.
MOST_PACKETS = 1_500
# As in `CallerSpeech`: quieter is silence, whatever the line's noise.
QUIETEST_SPEECH = 180.0
ABOVE_NOISE = 2.8
LOUDEST_NOISE = 1_000.0
# Speech goes on over pauses up to this long: 400 ms.
PAUSE_PACKETS = 20
# So much before speech is sent again with it, so that its first sound is not clipped: 200 ms.
LEAD_PACKETS = 10


class UnkeptAudio:
    """Packets of PCM16 at 16 kHz that may have to be sent again."""

    def __init__(self, most_packets: int = MOST_PACKETS) -> None:
        self._packets: deque[bytes] = deque(maxlen=most_packets)
        # The number of the packet that comes next.
        self.end = 0
        self._answered = 0
        # Where the turn begins that is being answered.
        self._asked = 0

    @property
    def first(self) -> int:
        """The number of the oldest packet that is here."""
        return self.end - len(self._packets)

    @property
    def answered(self) -> int:
        """The number up to which the model has begun to answer."""
        return max(self._answered, self.first)

    @property
    def asked(self) -> int:
        """The number from which the turn began that the model answers, or has answered last."""
        return max(self._asked, self.first)

    def add(self, pcm: bytes) -> None:
        """Add the newest packet."""
        self._packets.append(pcm)
        self.end += 1

    def answer_begins(self) -> None:
        """The model answers what was said so far; speech that goes on now is not part of it."""
        answered = max(self.answered, self._start_of_current_speech())
        if self._speech_between(self.answered, answered) is not None:
            self._asked = self._answered
        self._answered = answered

    def keep(self, *, unfinished: bool = False) -> None:
        """A session's handle covers all that was answered: it is never sent again.

        `unfinished`: the answer of the last turn goes on, and the handle does not cover that.
        """
        kept = self._asked if unfinished else self._answered
        while self._packets and self.first < kept:
            self._packets.popleft()

    def blank(self, number: int) -> None:
        """Replace a packet by silence: it may be what a session refused."""
        if self.first <= number < self.end:
            index = number - self.first
            self._packets[index] = bytes(len(self._packets[index]))

    def speech_from(self, number: int) -> int | None:
        """Where to begin, so that all speech since `number` is sent; None: there is none."""
        number = max(number, self.first)
        loud = self._speech_between(number, self.end)
        return None if loud is None else max(number, loud - LEAD_PACKETS)

    def take(self, number: int) -> tuple[bytes, int]:
        """The packet of that number, or the oldest one after it, and the number after it."""
        number = max(number, self.first)
        return self._packets[number - self.first], number + 1

    def _speech_between(self, start: int, end: int) -> int | None:
        """The number of the first of two loud packets in a row, from `start` to before `end`."""
        threshold = self._threshold()
        loud = 0
        packets = islice(self._packets, start - self.first, end - self.first)
        for number, pcm in enumerate(packets, start):
            loud = loud + 1 if sound_level(pcm) >= threshold else 0
            if loud == 2:
                return number - 1
        return None

    def _start_of_current_speech(self) -> int:
        """Where the speech began that goes on now; the end when nobody speaks."""
        threshold = self._threshold()
        start, quiet = self.end, 0
        for index, pcm in enumerate(reversed(self._packets), 1):
            if sound_level(pcm) >= threshold:
                start, quiet = self.end - index, 0
            else:
                quiet += 1
                if quiet >= PAUSE_PACKETS:
                    break
        return start if start == self.end else max(self.first, start - LEAD_PACKETS)

    def _threshold(self) -> float:
        newest = islice(reversed(self._packets), 100)
        noise = min(map(sound_level, newest), default=0.0)
        return max(QUIETEST_SPEECH, min(noise, LOUDEST_NOISE) * ABOVE_NOISE)
