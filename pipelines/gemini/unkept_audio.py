"""UnkeptAudio: ring of the caller's audio since the last point that a session is known to keep.

Packets have numbers that only grow. Each connection remembers the number that it is sent next, so
that one that replaces it can be sent what the first one took with it.

    packets   |......|==question==|........|=and=|....
              ^ first kept        ^ answered     ^ end
                                  a handle that comes now covers what is before it

Nothing here knows the time: where speech begins is read from the packets' levels, and only when it
is asked for: when a handle comes, and when a connection breaks.
"""

from collections import deque
from collections.abc import Iterator
from itertools import count, islice

from processors.noise_floor import sound_level

# Packets of 20 ms. Of more, the oldest is dropped: nobody repeats a question that long.
MOST_PACKETS = 1_500
# As in `CallerSpeech`: quieter is silence, whatever the line's noise.
QUIETEST_SPEECH = 180.0
ABOVE_NOISE = 2.8
LOUDEST_NOISE = 1_000.0
# Speech goes on over pauses up to this long: 400 ms.
PAUSE_PACKETS = 20
# Of so many answers without a handle, the newest count.
MOST_MARKS = 20
# Speech, or noise, that has gone on for longer than 4 s is looked at no further.
MOST_SCANNED = 200
# The line's noise is the quietest of the last second.
NOISE_PACKETS = 50
# So much before speech is sent again with it, so that its first sound is not clipped: 200 ms.
LEAD_PACKETS = 10
# Of a turn that is longer, the words are told instead: 8 s of audio are sent again in 2 s.
MOST_REPLAYED_PACKETS = 400


class UnkeptAudio:
    """Packets of PCM16 at 16 kHz that may have to be sent again."""

    def __init__(self, most_packets: int = MOST_PACKETS) -> None:
        self._packets: deque[bytes] = deque(maxlen=most_packets)
        # The number of the packet that comes next.
        self.end = 0
        # Up to where all was answered when the last handle came.
        self._kept = 0
        # Where the model began to answer since then.
        self._marks: list[int] = []

    @property
    def first(self) -> int:
        """The number of the oldest packet that is here."""
        return self.end - len(self._packets)

    @property
    def answered(self) -> int:
        """The number up to which the model has begun to answer.

        Speech that went on when it began is not part of it.
        """
        return self._answered_at(self._marks[-1]) if self._marks else max(self._kept, self.first)

    @property
    def asked(self) -> int:
        """The number from which the turn began that the model answers, or has answered last."""
        starts = [max(self._kept, self.first), *map(self._answered_at, self._marks)]
        # An answer in several parts, with a tool between them, is to one turn.
        while len(starts) > 1:
            end = starts.pop()
            if self._speech_between(starts[-1], end) is not None:
                break
        return starts[-1]

    def add(self, pcm: bytes) -> None:
        """Add the newest packet."""
        self._packets.append(pcm)
        self.end += 1

    def answer_begins(self) -> None:
        """The model answers what was said so far."""
        if not self._marks or self._marks[-1] != self.end:
            self._marks.append(self.end)
            del self._marks[:-MOST_MARKS]

    def keep(self, *, unfinished: bool = False) -> None:
        """A session's handle covers all that was answered: it is never sent again.

        `unfinished`: the answer of the last turn goes on, and the handle does not cover that.
        """
        answered = self.answered
        kept = self.asked if unfinished else answered
        self._marks = [answered] if unfinished else []
        self._kept = kept
        for _ in range(min(kept - self.first, len(self._packets))):
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

    def replay_from(self, *, unfinished: bool) -> int | None:
        """Where to begin, so that the turn that is owed is heard; None: nothing is owed.

        `unfinished`: the turn that is being answered is owed, too, unless it is too long.
        """
        start = self.speech_from(self.asked if unfinished else self.answered)
        if start is None or self.end - start > MOST_REPLAYED_PACKETS:
            start = self.speech_from(self.answered)
        return start

    def take(self, number: int) -> tuple[bytes, int]:
        """The packet of that number, or the oldest one after it, and the number after it."""
        number = max(number, self.first)
        return self._packets[number - self.first], number + 1

    def _speech_between(self, start: int, end: int) -> int | None:
        """The number of the first of two loud packets in a row, from `start` to before `end`."""
        threshold = self._threshold(end)
        loud = 0
        packets = islice(self._packets, max(0, start - self.first), max(0, end - self.first))
        for number, pcm in enumerate(packets, max(start, self.first)):
            loud = loud + 1 if sound_level(pcm) >= threshold else 0
            if loud == 2:
                return number - 1
        return None

    def _answered_at(self, mark: int) -> int:
        """Where the speech began that went on at the mark; the mark when nobody spoke."""
        threshold = self._threshold(mark)
        start, quiet = mark, 0
        before = islice(self._before(mark), MOST_SCANNED)
        for number, pcm in zip(count(mark - 1, -1), before, strict=False):
            if sound_level(pcm) >= threshold:
                start, quiet = number, 0
            else:
                quiet += 1
                if quiet >= PAUSE_PACKETS:
                    break
        lead = LEAD_PACKETS if start != mark else 0
        return max(self._kept, self.first, start - lead)

    def _threshold(self, end: int) -> float:
        """Above it, packets before that number are speech."""
        newest = islice(self._before(end), NOISE_PACKETS)
        noise = min(map(sound_level, newest), default=0.0)
        return max(QUIETEST_SPEECH, min(noise, LOUDEST_NOISE) * ABOVE_NOISE)

    def _before(self, number: int) -> Iterator[bytes]:
        """The packets before that number, newest first."""
        return islice(reversed(self._packets), max(0, self.end - number), None)
