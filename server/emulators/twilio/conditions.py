"""Conditions of a phone line: what happens to the person's voice, and to its packets, by a seed.

mouth ─▶ level ─▶ + second voice ─▶ + echo of the agent ─▶ + noise ─▶ mu-law ─▶ second mu-law
packets ─▶ lost ─▶ late and bunched ─▶ WebSocket, which stalls once
"""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.emulators.speech import speak
from server.emulators.twilio.mulaw import PACKET, RATE, decode, encode

# A speakerphone hears what it says after so long.
ECHO_AFTER_SECS = 0.12
SECOND_VOICE = "en-us+m3"
SECOND_VOICE_SAYS = (
    "And then we went down to the market, because the shop around the corner was closed again, "
    "and I said to her that it would never open before ten, not on such a morning as this one."
)
# Between two codecs a line loses about so much.
SECOND_CODEC_DB = -1.0


@dataclass(frozen=True, slots=True)
class LineConditions:
    """What is wrong with a line; by default, nothing.

    `level_db`: the person is so much louder or softer. `second_voice_db`: another person speaks so
    many dB below. `echo_db`: the agent's own voice comes back so many dB softer. `jitter_ms`:
    packets are up to so late, in order. `loss`: the share of packets that never come.
    `stall_at_ms`, `stall_ms`: from the answer, when and for how long nothing is delivered.
    `second_codec`: the voice went through mu-law twice.
    """

    level_db: float = 0.0
    second_voice_db: float | None = None
    echo_db: float | None = None
    jitter_ms: int = 0
    loss: float = 0.0
    stall_at_ms: int | None = None
    stall_ms: int = 300
    second_codec: bool = False
    seed: int = 0


class Mouthpiece:
    """Changes the person's samples, a packet at a time."""

    def __init__(self, conditions: LineConditions) -> None:
        self._conditions = conditions
        self._gain = _gain(conditions.level_db)
        self._second = _second_voice(conditions)
        self._at = 0

    def change(self, samples: NDArray[np.int16], heard: bytes) -> NDArray[np.int16]:
        """20 ms of the person; `heard` is all mu-law that came out of the phone so far."""
        mixed = samples.astype(np.float64) * self._gain
        if self._second is not None:
            mixed += np.take(self._second, range(self._at, self._at + PACKET), mode="wrap")
        if self._conditions.echo_db is not None:
            end = len(heard) - round(ECHO_AFTER_SECS * RATE)
            if end >= PACKET:
                mixed += decode(heard[end - PACKET : end]) * _gain(self._conditions.echo_db)
        self._at += PACKET
        clipped: NDArray[np.int16] = np.clip(mixed, -32_768, 32_767).astype(np.int16)
        return clipped

    def code(self, audio: bytes) -> bytes:
        """The mu-law that the line delivers."""
        if not self._conditions.second_codec:
            return audio
        softer = decode(audio) * _gain(SECOND_CODEC_DB)
        return encode(softer.astype(np.int16))


class Delivery:
    """Which packets come, and how late; times in seconds from the answer."""

    def __init__(self, conditions: LineConditions) -> None:
        self._conditions = conditions
        self._random = random.Random(conditions.seed)  # noqa: S311 - repeatable, not secret

    def is_lost(self) -> bool:
        """Whether the next packet never comes."""
        return self._random.random() < self._conditions.loss

    def late_secs(self, since_answer: float) -> float:
        """How long a packet of now waits; one that would come before another waits for it."""
        late = self._random.random() * self._conditions.jitter_ms / 1000
        stall_at = self._conditions.stall_at_ms
        if stall_at is not None:
            begins, ends = stall_at / 1000, (stall_at + self._conditions.stall_ms) / 1000
            if begins <= since_answer < ends:
                late = max(late, ends - since_answer)
        return late


def _second_voice(conditions: LineConditions) -> NDArray[np.float64] | None:
    if conditions.second_voice_db is None:
        return None
    pcm = speak(SECOND_VOICE_SAYS, voice=SECOND_VOICE, rate=RATE)
    voice = np.frombuffer(pcm, dtype="<i2").astype(np.float64) * _gain(-conditions.second_voice_db)
    start = random.Random(conditions.seed).randrange(len(voice))  # noqa: S311
    rolled: NDArray[np.float64] = np.roll(voice, -start)
    return rolled


def _gain(db: float) -> float:
    return float(10 ** (db / 20))
