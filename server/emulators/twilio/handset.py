"""The phone in a person's hand: speak, listen, press keys, hang up."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from server.emulators.speech import speak
from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import RATE, decode
from server.emulators.twilio.record import CallRecord, Said
from server.emulators.twilio.sound import at_line_rate
from server.emulators.twilio.waiting import Changes

KEYS = "0123456789*#ABCD"
KEY_SECS = 0.2


class HungUp(Exception):
    """The call ended while the person was still at it. A person may let it pass."""


class Handset:
    """What a person may do on the phone; every method raises HungUp once the call is over."""

    def __init__(
        self,
        line: Line,
        record: CallRecord,
        changes: Changes,
        hang_up: Callable[[], None],
        voice: str,
    ) -> None:
        self._line = line
        self._record = record
        self._changes = changes
        self._hang_up = hang_up
        self._voice = voice
        # Only what is heard after this sample answers what the person did last.
        self._attentive_from = 0
        self._listened_to = 0

    async def say(self, text: str, *, voice: str | None = None) -> None:
        """Speak a text, to its end."""
        pcm = speak(text, voice=voice or self._voice, rate=RATE)
        await self._utter(at_line_rate(pcm, RATE), text)

    async def play(self, pcm: bytes, rate: int, *, text: str = "") -> None:
        """Say a recording (PCM16 mono at `rate` Hz), to its end; `text` is what is said in it."""
        await self._utter(at_line_rate(pcm, rate), text)

    def speak_live(self, pcm: bytes, most_secs: float) -> None:
        """Say this (PCM16 at 8 kHz) now; dropped when more than `most_secs` wait to be said."""
        if not self._line.closed and self._line.unspoken <= most_secs * RATE:
            self._line.speak(np.frombuffer(pcm, dtype="<i2").astype(np.int16))

    def newly_heard(self) -> bytes:
        """What was heard since the last call of this: PCM16 at 8 kHz."""
        heard = self._line.ear.heard[self._listened_to :]
        self._listened_to += len(heard)
        return decode(bytes(heard)).astype("<i2").tobytes()

    async def press(self, keys: str) -> None:
        """Press keys, one after the other.

        Raises: ValueError for a key that no phone has.
        """
        for key in keys:
            if key not in KEYS:
                raise ValueError(f"no phone has a key {key!r}")
            reached = self._line.press(key)
            self._record.note("caller.pressed", key=key, reached=reached)
            await self.pause(KEY_SECS)
        self._attentive_from = self._line.now

    async def hears_speech(self) -> None:
        """Wait until the other side speaks (at once when it does)."""
        await self._until(lambda: self._line.agent_speaking and self._heard_since())

    async def listen_until_silence(self, min_secs: float = 0.6) -> None:
        """Wait until the other side has spoken since, and was quiet for `min_secs`."""

        def is_quiet() -> bool:
            last = self._line.agent_last_sound or 0
            # A line that is behind its clock has not listened to the rest yet.
            return self._heard_since() and self._line.listened - last >= min_secs * RATE

        await self._until(is_quiet)
        self._attentive_from = self._line.now

    async def pause(self, secs: float) -> None:
        """Do nothing for a while, to the next 20 ms."""
        end = self._line.now + secs * RATE
        await self._until(lambda: self._line.now >= end)

    def hang_up(self) -> None:
        """Put the phone down."""
        self._hang_up()

    async def until_hung_up(self) -> None:
        """Stay on the line until the call is over."""
        await self._changes.until(lambda: self._line.closed)

    async def _utter(self, samples: NDArray[np.int16], text: str) -> None:
        self._alive()
        start = self._line.speak(samples) - len(samples)
        self._record.note("caller.says", text=text, at_secs=start / RATE)
        end = start + len(samples)
        try:
            await self._until(lambda: len(self._line.spoken) >= end)
        finally:
            said_until = min(end, len(self._line.spoken))
            if said_until > start:
                self._record.said.append(Said(text, start / RATE, said_until / RATE))
        self._record.note("caller.said", text=text, at_secs=end / RATE)
        self._attentive_from = self._line.now

    def _heard_since(self) -> bool:
        last = self._line.agent_last_sound
        return last is not None and last > self._attentive_from

    async def _until(self, condition: Callable[[], bool]) -> None:
        self._alive()
        await self._changes.until(lambda: self._line.closed or condition())
        self._alive()

    def _alive(self) -> None:
        if self._line.closed:
            raise HungUp
