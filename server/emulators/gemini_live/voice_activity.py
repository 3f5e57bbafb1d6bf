"""When the caller speaks, by the energy of the audio that came in. No clock: only samples count.

    level     ▁▁▁▁█████▁▁███▁▁▁▁▁▁▁▁▁▁▁▁
    started       │ prefixPaddingMs of speech
    ended                     │ silenceDurationMs without

So a caller whose audio simply stops arriving never ends the turn, as with the real API. The floor
is the quietest 20 ms of the last two seconds: a noisy line raises it, speech pauses too often to.

Source: ai.google.dev/api/live, AutomaticActivityDetection.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

HEARS_AT = 16_000  # Hz
WINDOW_MS = 20
WINDOW_SAMPLES = HEARS_AT * WINDOW_MS // 1000
FLOOR_WINDOWS = 2000 // WINDOW_MS
# dBFS; the loudest is a street, 10 dB below speech.
QUIETEST_FLOOR, LOUDEST_FLOOR = -75.0, -28.0
HYSTERESIS_DB = 3.0
# What is heard before the start was sure belongs to the utterance.
LEAD_IN_MS = 300


@dataclass(frozen=True, slots=True)
class Detection:
    """How speech is told from silence. Levels in dBFS, the margin in dB above the floor."""

    disabled: bool = False
    prefix_padding_ms: int = 20
    silence_ms: int = 500
    quietest_speech: float = -50.0
    margin_db: float = 9.0

    @classmethod
    def of_setup(cls, setup: Mapping[str, Any]) -> "Detection":
        """As `setup.realtimeInputConfig.automaticActivityDetection` asks; else the defaults."""
        asked = setup.get("realtimeInputConfig", {}).get("automaticActivityDetection", {})
        hard_to_start = asked.get("startOfSpeechSensitivity") == "START_SENSITIVITY_LOW"
        slow_to_end = asked.get("endOfSpeechSensitivity") == "END_SENSITIVITY_LOW"
        return cls(
            disabled=asked.get("disabled", False),
            prefix_padding_ms=asked.get("prefixPaddingMs", 20),
            silence_ms=asked.get("silenceDurationMs", 800 if slow_to_end else 500),
            quietest_speech=-42.0 if hard_to_start else -50.0,
            margin_db=15.0 if hard_to_start else 9.0,
        )


class Change(Enum):
    """What happened to the caller's speech."""

    STARTED = "started"
    ENDED = "ended"


class VoiceActivity:
    """Listens to PCM16 at 16 kHz in chunks of any size, and keeps the utterance being spoken."""

    def __init__(self, detection: Detection) -> None:
        self.detection = detection
        self.speaking = False
        self._utterance = bytearray()
        self._rest = b""
        self._spoken_windows = 0
        self._silent_windows = 0
        self._count = 0
        # Window numbers and levels, ascending: the first is the quietest of the last two seconds.
        self._quietest: deque[tuple[int, float]] = deque()

    def feed(self, pcm: bytes) -> list[Change]:
        """Hear what came in; says what changed, in order."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (WINDOW_SAMPLES * 2)
        self._rest = pcm[whole:]
        if not whole:
            return []
        samples = np.frombuffer(pcm[:whole], dtype="<i2").astype(np.float32)
        windows = samples.reshape(-1, WINDOW_SAMPLES)
        energies = np.einsum("ij,ij->i", windows, windows) / WINDOW_SAMPLES
        changes: list[Change] = []
        size = WINDOW_SAMPLES * 2
        for index, energy in enumerate(energies.tolist()):
            self._utterance += pcm[index * size : (index + 1) * size]
            level = 10 * math.log10(energy / 32_768**2) if energy > 0 else -100.0
            change = None if self.detection.disabled else self._hear(level)
            if change is not None:
                changes.append(change)
        if not self.speaking and Change.ENDED not in changes:
            self._keep_lead_in()
        return changes

    def start(self) -> None:
        """The client says that speech starts (automatic detection is disabled)."""
        self.speaking = True

    def end(self) -> None:
        """The client says that speech ended."""
        self.speaking = False

    def take_utterance(self) -> bytes:
        """The PCM of the utterance that ended, a short lead-in included; forgets it."""
        utterance = bytes(self._utterance)
        self._utterance.clear()
        return utterance

    def give_back(self, utterance: bytes) -> None:
        """The utterance goes on: what was taken belongs before what comes."""
        self._utterance[:0] = utterance

    def _hear(self, level: float) -> Change | None:
        threshold = max(
            self.detection.quietest_speech, self._floor(level) + self.detection.margin_db
        )
        if self.speaking:
            threshold -= HYSTERESIS_DB
        if level < threshold:
            self._spoken_windows = 0
            self._silent_windows += 1
        else:
            self._spoken_windows += 1
            self._silent_windows = 0
        if not self.speaking and self._spoken_windows * WINDOW_MS >= max(
            WINDOW_MS, self.detection.prefix_padding_ms
        ):
            self.speaking = True
            return Change.STARTED
        if self.speaking and self._silent_windows * WINDOW_MS >= max(
            WINDOW_MS, self.detection.silence_ms
        ):
            self.speaking = False
            return Change.ENDED
        return None

    def _floor(self, level: float) -> float:
        self._count += 1
        while self._quietest and self._quietest[-1][1] >= level:
            self._quietest.pop()
        self._quietest.append((self._count, level))
        while self._quietest[0][0] <= self._count - FLOOR_WINDOWS:
            self._quietest.popleft()
        return min(max(self._quietest[0][1], QUIETEST_FLOOR), LOUDEST_FLOOR)

    def _keep_lead_in(self) -> None:
        kept = HEARS_AT * 2 * max(LEAD_IN_MS, 2 * self.detection.prefix_padding_ms) // 1000
        if len(self._utterance) > kept:
            del self._utterance[: len(self._utterance) - kept]
