"""The person of a scenario on the phone: plays the turns, and waits for what must come of each."""

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile
import soxr

from server.emulators.speech import speak
from server.emulators.twilio import Handset
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.sound import is_audible
from server.replay.events import Timeline
from server.replay.matching import Standing, State, stand
from server.replay.results import Failure
from server.replay.scenario import Scenario, SendAfter, Turn

# A person answers a moment after the other has finished.
POLITE_SECS = 0.1
# How often to look again while something that happened is not known yet.
LOOK_AGAIN_SECS = 0.02


class ScriptedCaller:
    """Plays a scenario's turns; `failures` are those whose expectations did not hold."""

    def __init__(self, scenario: Scenario, timeline: Timeline, voice: str) -> None:
        """`voice` is one of espeak-ng's.

        Raises: RuntimeError (libsndfile's) for a recording that cannot be read.
        """
        self._scenario = scenario
        self._timeline = timeline
        # Made before the call: while it lasts, the loop is for its packets.
        self._sounds = [_sound(turn, voice) for turn in scenario.turns]
        unheard = [
            Failure(turn.where, "a turn that can be heard", "silence")
            for turn, sound in zip(scenario.turns, self._sounds, strict=True)
            if (turn.parts or turn.audio) and not is_audible(np.frombuffer(sound, dtype="<i2"))
        ]
        self._sent_at = 0.0
        self._sent = self._sent_whole = 0
        # A turn without a sound is no turn: whatever comes, comes of something else.
        self.failures: list[Failure] = unheard
        self.played = 0
        # The turn that failed, and behind which none was played; turns count from 1.
        self.failed_turn: int | None = None
        self.gave_up = False
        self._turn_start = 0

    async def __call__(self, phone: Handset) -> None:
        """Live through the call. Raises HungUp when it ends before the turns do."""
        for turn, sound in zip(self._scenario.turns, self._sounds, strict=True):
            self._turn_start = len(self._timeline.events)
            await self._send(turn, sound, phone)
            standing = await self._until_settled(turn)
            self.played += 1
            if standing.failure is not None:
                self.failures.append(standing.failure)
                if self._scenario.stop_on_failure:
                    self.failed_turn, self.gave_up = self.played, True
                    phone.hang_up()
                    return
        if not self._scenario.call.stays:
            phone.hang_up()
        await phone.until_hung_up()

    def current_turn(self) -> Turn:
        """The turn that is being played; behind the last one, one that expects nothing."""
        turns = self._scenario.turns
        return turns[self.played] if self.played < len(turns) else Turn(self._scenario.where)

    def left_open(self) -> list[Failure]:
        """What the call was over too early for: the turn it ended in, or the first one behind."""
        rest = self._scenario.turns[self.played :]
        if not rest or (self.failures and self._scenario.stop_on_failure):
            return []
        if self._sent > self.played or not rest[0].does_something:
            if failure := self._unfinished(rest[0]):
                self.failed_turn = self.played + 1
                return [failure]
            rest = rest[1:]
        if not rest:
            return []
        self.failed_turn = len(self._scenario.turns) - len(rest) + 1
        return [Failure(rest[0].where, "the turn to be played", "the call was over before it")]

    def _unfinished(self, turn: Turn) -> Failure | None:
        """What is wrong with the turn in which the call ended, if anything is."""
        if self._sent > self._sent_whole and not turn.expect:
            return Failure(turn.where, "the turn to be said", "the call was over within it")
        return self._stand(turn).failure

    async def _send(self, turn: Turn, sound: bytes, phone: Handset) -> None:
        if not turn.does_something:
            self._sent_at = self._timeline.now()
            self._sent += 1
            self._sent_whole += 1
            return
        if turn.send_after is not None:
            await self._wait_for(turn.send_after)
        else:
            await self._until_quiet()
        await phone.pause(0)  # raises HungUp when the turn comes too late
        self._sent_at = self._timeline.now()
        self._sent += 1
        if turn.hang_up:
            phone.hang_up()
        elif turn.dtmf is not None:
            await phone.press(turn.dtmf)
        else:
            await phone.play(sound, RATE, text=turn.text)
        self._sent_whole += 1

    async def _wait_for(self, after: SendAfter) -> None:
        timeline = self._timeline
        if after.event is None:
            began = self._sent_at
        else:
            kind = after.event

            def seen() -> bool:
                return timeline.over or any(event.kind == kind for event in timeline.events)

            await timeline.changes.until(seen)
            began = next((e.at for e in reversed(timeline.events) if e.kind == kind), 0.0)
        await asyncio.sleep(max(0.0, began + after.delay_ms / 1000 - timeline.now()))

    async def _until_quiet(self) -> None:
        """Let the agent finish, like somebody who waits for the end of the sentence."""
        timeline = self._timeline
        await timeline.changes.until(lambda: timeline.over or not timeline.agent_speaks)
        await asyncio.sleep(POLITE_SECS)

    def _stand(self, turn: Turn) -> Standing:
        return stand(
            turn.expect,
            self._timeline.events,
            turn_start=self._turn_start,
            sent_at=self._sent_at,
            now=self._timeline.known_until(),
            over=self._timeline.over,
            acts=turn.does_something,
        )

    async def _until_settled(self, turn: Turn) -> Standing:
        timeline = self._timeline
        while True:
            known, known_until = len(timeline.events), timeline.known_until()
            standing = self._stand(turn)
            if standing.state is not State.OPEN:
                return standing
            deadlines = (self._sent_at + e.within_ms / 1000 for e in turn.expect)
            due = min(deadline for deadline in deadlines if deadline > known_until)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(LOOK_AGAIN_SECS, due - known_until)):
                    await timeline.more_than(known)


def _sound(turn: Turn, voice: str) -> bytes:
    if turn.audio is not None:
        sound = _read(turn.audio)
        if turn.audio_ms is None:
            return sound
        start, end = (2 * (RATE * ms // 1000) for ms in turn.audio_ms)
        return sound[start:end]
    pieces = [
        bytes(2 * (RATE * part // 1000))
        if isinstance(part, int)
        else speak(part, voice=voice, rate=RATE)
        for part in turn.parts
    ]
    return b"".join(pieces)


def _read(path: Path) -> bytes:
    """A recording of any format that libsndfile reads, as PCM16 mono at the line's rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE, quality="HQ")
    pcm: bytes = (np.clip(mono, -1, 1) * 32767).astype("<i2").tobytes()
    return pcm
