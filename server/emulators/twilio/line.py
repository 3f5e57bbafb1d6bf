"""The line of an answered phone: a mouth and an ear, twenty milliseconds at a time.

One task per call keeps the beat by the loop's clock without drift:

    answer   20 ms    40 ms    60 ms
      |--------|--------|--------|
               packet 1 packet 2 packet 3   -> to whoever is attached (the media stream)
      ear plays what was received, to the sample
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.emulators.twilio.conditions import Delivery, LineConditions, Mouthpiece
from server.emulators.twilio.mulaw import PACKET, PACKET_MS, RATE, SILENCE, decode, encode
from server.emulators.twilio.playout import PlayoutBuffer
from server.emulators.twilio.sound import is_audible
from server.emulators.twilio.waiting import Changes

# Speech of `server.emulators.speech` on average, against which a line's noise is measured.
SPEECH_DBFS = -18.0
# Loud for this many packets: somebody speaks. Quiet for that many: nobody does.
_SPEAKS_AFTER = 2
_QUIET_AFTER = 300 // PACKET_MS
_QUIET_PACKET = bytes((SILENCE,)) * PACKET


class LineEnd(Protocol):
    """What hangs on the other end of the line."""

    def packet(self, audio: bytes) -> None:
        """20 ms of the person's voice as mu-law, in silence too."""
        ...

    def reached(self, marks: list[str]) -> None:
        """Playback reached these marks."""
        ...

    def pressed(self, key: str) -> None:
        """The person pressed a key."""
        ...


class Line:
    """What one person says and hears, from the answer until `close`.

    `snr_db` adds noise to the person's side, that far below speech. `conditions`: what else is
    wrong with the line.
    """

    def __init__(
        self,
        changes: Changes,
        *,
        snr_db: float | None = None,
        conditions: LineConditions | None = None,
        note: Callable[..., None] = lambda *_args, **_detail: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.answered_at = self._loop.time()
        self.ear = PlayoutBuffer()
        # What the person said, as mu-law from the answer on.
        self.spoken = bytearray()
        self.closed = False
        self.agent_speaking = False
        # The last sample of speech heard, and None before any.
        self.agent_last_sound: int | None = None
        self._changes = changes
        self._note = note
        self._mouth: deque[NDArray[np.int16]] = deque()
        self._mouth_waiting = 0
        self._noise = _noise(snr_db)
        self._noise_at = 0
        self._mouthpiece = None if conditions is None else Mouthpiece(conditions)
        self.delivery = None if conditions is None else Delivery(conditions)
        self._end: LineEnd | None = None
        self._loud_packets = 0

    @property
    def now(self) -> int:
        """Samples since the answer."""
        return int((self._loop.time() - self.answered_at) * RATE + 1e-3)

    @property
    def unspoken(self) -> int:
        """Samples that wait to be said."""
        return self._mouth_waiting

    @property
    def listened(self) -> int:
        """Samples since the answer in which speech was looked for: `now`, or a little less."""
        return len(self.spoken)

    def attach(self, end: LineEnd) -> None:
        """Give the person's voice to `end` from the next packet on."""
        self._end = end

    def detach(self, end: LineEnd) -> int:
        """Take it away again; what was not played yet is dropped: how many samples."""
        if self._end is not end:
            return 0
        self._play()
        self._end = None
        dropped, _ = self.ear.clear()
        return dropped

    def speak(self, samples: NDArray[np.int16]) -> int:
        """Say this after what is being said; the sample at which it will be said."""
        self._mouth.append(samples)
        self._mouth_waiting += len(samples)
        return len(self.spoken) + self._mouth_waiting

    def press(self, key: str) -> bool:
        """Press a key; False when nobody is there to be told."""
        if self._end is None:
            return False
        self._end.pressed(key)
        return True

    def hear(self, audio: bytes) -> bool:
        """Mu-law for the ear, behind what waits there; False when it was dropped."""
        self._play()
        return self.ear.append(audio, self.now)

    def mark(self, name: str) -> bool:
        """Put a mark behind what waits; True when playback is there already."""
        self._play()
        return self.ear.mark(name)

    def clear(self) -> tuple[int, list[str]]:
        """Drop what waits: how many samples, and the marks among them."""
        self._play()
        return self.ear.clear()

    async def keep_time(self) -> None:
        """The beat of the line; ends when it is closed."""
        beats = 0
        while not self.closed:
            beats += 1
            ahead = self.answered_at + beats * PACKET_MS / 1_000 - self._loop.time()
            await asyncio.sleep(max(0.0, ahead))
            if self.closed:
                return
            self._play()
            packet = self._packet()
            self.spoken += packet
            if self._end is not None:
                self._end.packet(packet)
            self._listen(beats)
            self._changes.happened()

    def close(self) -> None:
        """Hang up: nobody speaks or hears any more."""
        if self.closed:
            return
        self._play()
        self.closed = True
        self._end = None
        self._changes.happened()

    def _play(self) -> None:
        marks = self.ear.advance(self.now)
        if marks and self._end is not None:
            self._end.reached(marks)

    def _packet(self) -> bytes:
        if not self._mouth and self._noise is None and self._mouthpiece is None:
            return _QUIET_PACKET
        samples = np.zeros(PACKET, dtype=np.int16)
        filled = 0
        while self._mouth and filled < PACKET:
            head = self._mouth.popleft()
            taken = head[: PACKET - filled]
            samples[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(head):
                self._mouth.appendleft(head[len(taken) :])
        self._mouth_waiting -= filled
        if self._mouthpiece is not None:
            samples = self._mouthpiece.change(samples, bytes(self.ear.heard[-RATE:]))
        if self._noise is not None:
            noise = self._noise[self._noise_at : self._noise_at + PACKET]
            self._noise_at = (self._noise_at + PACKET) % (len(self._noise) - PACKET)
            samples = np.clip(samples.astype(np.int32) + noise, -32_768, 32_767).astype(np.int16)
        audio = encode(samples)
        return audio if self._mouthpiece is None else self._mouthpiece.code(audio)

    def _listen(self, beats: int) -> None:
        heard = self.ear.heard[(beats - 1) * PACKET : beats * PACKET]
        loud = is_audible(decode(heard))
        self._loud_packets = self._loud_packets + 1 if loud else 0
        if not self.agent_speaking:
            if self._loud_packets >= _SPEAKS_AFTER:
                self.agent_speaking = True
                self.agent_last_sound = beats * PACKET
                self._note("agent.speaks", at_secs=(beats - _SPEAKS_AFTER) * PACKET / RATE)
        elif loud:
            self.agent_last_sound = beats * PACKET
        elif beats * PACKET - (self.agent_last_sound or 0) >= _QUIET_AFTER * PACKET:
            self.agent_speaking = False
            self._note("agent.quiet", at_secs=(self.agent_last_sound or 0) / RATE)


def _noise(snr_db: float | None) -> NDArray[np.int16] | None:
    if snr_db is None:
        return None
    level = 32_767 * 10 ** ((SPEECH_DBFS - snr_db) / 20)
    noise = np.random.default_rng(8_000).normal(0.0, level, RATE + 37)
    clipped: NDArray[np.int16] = np.clip(noise, -32_768, 32_767).astype(np.int16)
    return clipped
