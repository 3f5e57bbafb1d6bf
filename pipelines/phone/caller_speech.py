"""CallerSpeech: detects when the caller speaks. An energy detector, a few µs a packet.

Gemini's own voice activity detection decides whose turn it is, but does not report it. This one
serves the record, the latencies, the silence watch, and Gemini's activity signals when its own
detection is switched off.

    level  ___/‾‾‾‾‾‾\\_/‾‾‾\\_____________
    speaks    |--60 ms: started            the start is dated back to the first loud packet
                             |--400 ms--|  stopped; the end is dated back to the last loud one
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

from processors.noise_floor import QuietestLevel, sound_level

# PCM16 units of root mean square. Anything below is silence, whatever the noise floor.
QUIETEST_SPEECH = 180.0
# Speech must stand this far above the line's own noise: 9 dB.
ABOVE_NOISE = 2.8
STARTS_AFTER_MS = 60
STOPS_AFTER_MS = 400
# Quieter than any line's noise: digital silence, which says nothing about the noise floor.
DIGITAL_SILENCE = 8
# No line is noisier than this, so that speech from the first packet on is not taken for noise.
LOUDEST_NOISE = 1000.0
# A sound whose packets stay this close together for so long is noise: speech moves more.
STEADY_RATIO = 1.8
STEADY_AFTER_MS = 200
# Of more stretches, the oldest are forgotten: no turn has so many.
MOST_STRETCHES = 200
# A sound is judged once it lasts so long, for its first packet may have begun in silence.
JUDGED_AFTER_SECS = 0.235


class Change(Enum):
    """Change that a packet caused."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(slots=True)
class Stretch:
    """One stretch of speech; seconds on the call's clock. `end` moves on while it lasts."""

    start: float
    end: float


class CallerSpeech:
    """Takes PCM16 packets and keeps the stretches in which the caller spoke."""

    def __init__(self) -> None:
        self.speaking = False
        self.stretches: deque[Stretch] = deque(maxlen=MOST_STRETCHES)
        self._floor = 0.0
        self._quietest = QuietestLevel()
        # Whether the latest packet was loud enough for speech, however short it is so far.
        self.loud = False
        self._loud_ms = 0.0
        self._quiet_ms = 0.0
        self._loud_since = 0.0
        # Whether the latest stretch moved as speech does: a line's noise that becomes louder is a
        # stretch, too, until the floor has followed.
        self.moved = False
        # The quietest and the loudest of the latest loud packets that are close together.
        self._steady_from = self._steady_to = 0.0
        self._steady_ms = 0.0

    @property
    def last_sound(self) -> float | None:
        """When the caller was last heard, or None if never."""
        return self.stretches[-1].end if self.stretches else None

    @property
    def started(self) -> float | None:
        """When the current stretch began; None in silence."""
        return self.stretches[-1].start if self.speaking else None

    @property
    def onset(self) -> float | None:
        """When the current sound began, even if too short for speech yet; None in silence."""
        if self.speaking:
            return self.stretches[-1].start
        return self._loud_since if self._loud_ms else None

    def hear(self, pcm: bytes, now: float, packet_ms: float) -> Change | None:
        """Take one packet of PCM16 at 8 kHz, of `packet_ms`, that ended at `now`.

        Returns the change it caused, if any.
        """
        level = sound_level(pcm)
        if level >= DIGITAL_SILENCE:
            self._floor = min(LOUDEST_NOISE, self._quietest.hear(level, packet_ms))
        threshold = max(QUIETEST_SPEECH, self._floor * ABOVE_NOISE)
        self.loud = level >= threshold
        if self.loud:
            self._track_steadiness(level, packet_ms)
            return self._loud(now, packet_ms)
        return self._quiet(packet_ms)

    def since(self, time: float) -> list[Stretch]:
        """The stretches that ended after `time`, oldest first."""
        newest_first = takewhile(lambda stretch: stretch.end > time, reversed(self.stretches))
        return list(newest_first)[::-1]

    def _loud(self, now: float, packet_ms: float) -> Change | None:
        self._quiet_ms = 0.0
        if self.speaking:
            stretch = self.stretches[-1]
            stretch.end = now
            self.moved |= now - stretch.start >= JUDGED_AFTER_SECS and not self._is_steady_noise()
            return None
        if not self._loud_ms:
            self._loud_since = now - packet_ms / 1000
        self._loud_ms += packet_ms
        if self._loud_ms < STARTS_AFTER_MS:
            return None
        self.speaking = True
        self.moved = False
        self.stretches.append(Stretch(self._loud_since, now))
        return Change.STARTED

    def _quiet(self, packet_ms: float) -> Change | None:
        self._loud_ms = self._steady_from = 0.0
        if not self.speaking:
            return None
        self._quiet_ms += packet_ms
        if self._quiet_ms < STOPS_AFTER_MS:
            return None
        self.speaking = False
        return Change.STOPPED

    def _track_steadiness(self, level: float, packet_ms: float) -> None:
        """Count for how long the loud packets have been close together; a quiet one ends it."""
        lowest, highest = min(self._steady_from, level), max(self._steady_to, level)
        if highest > lowest * STEADY_RATIO:
            lowest = highest = level
            self._steady_ms = 0.0
        self._steady_from, self._steady_to = lowest, highest
        self._steady_ms += packet_ms

    def _is_steady_noise(self) -> bool:
        steady = self._steady_ms >= STEADY_AFTER_MS
        return steady and self._steady_to < LOUDEST_NOISE * ABOVE_NOISE
