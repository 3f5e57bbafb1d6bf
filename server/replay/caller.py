"""The person of a scenario on the phone: plays the turns, and waits for what must come of each."""

import asyncio
from pathlib import Path

import numpy as np
import soundfile
import soxr

from server.emulators.speech import speak
from server.emulators.twilio import Handset
from server.emulators.twilio.mulaw import RATE
from server.replay.events import Timeline
from server.replay.matching import Standing, State, stand
from server.replay.results import Failure
from server.replay.scenario import Scenario, SendAfter, Turn

# A person answers a moment after the other has finished.
POLITE_SECS = 0.1


class ScriptedCaller:
    """Plays a scenario's turns; `failures` are those whose expectations did not hold."""

    def __init__(self, scenario: Scenario, timeline: Timeline, voice: str) -> None:
        self._scenario = scenario
        self._timeline = timeline
        self._voice = voice
        self._sent_at = 0.0
        self.failures: list[Failure] = []
        self.played = 0
        self._turn_start = 0

    async def __call__(self, phone: Handset) -> None:
        """Live through the call. Raises HungUp when it ends before the turns do."""
        for turn in self._scenario.turns:
            self._turn_start = len(self._timeline.events)
            await self._send(turn, phone)
            standing = await self._until_settled(turn)
            self.played += 1
            if standing.failure is not None:
                self.failures.append(standing.failure)
                if self._scenario.stop_on_failure:
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
        """What the call was over too early for: the turn it ended in, and those behind it."""
        rest = self._scenario.turns[self.played :]
        if self.failures or not rest:
            return []
        standing = self._stand(rest[0])
        found = [] if standing.failure is None else [standing.failure]
        return found + [
            Failure(turn.where, "the turn to be played", "the call was over before it")
            for turn in rest[1:]
        ]

    async def _send(self, turn: Turn, phone: Handset) -> None:
        if not (turn.parts or turn.dtmf or turn.hang_up):
            self._sent_at = self._timeline.now()
            return
        if turn.send_after is not None:
            await self._wait_for(turn.send_after)
        else:
            await self._until_quiet()
        self._sent_at = self._timeline.now()
        if turn.hang_up:
            phone.hang_up()
        elif turn.dtmf is not None:
            await phone.press(turn.dtmf)
        else:
            await phone.play(self._sound(turn), RATE, text=turn.text)

    def _sound(self, turn: Turn) -> bytes:
        if turn.audio is not None:
            return _read(turn.audio)
        pieces = [
            bytes(2 * RATE * part // 1000)
            if isinstance(part, int)
            else speak(part, voice=self._voice, rate=RATE)
            for part in turn.parts
        ]
        return b"".join(pieces)

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
            now=self._timeline.now(),
            over=self._timeline.over,
        )

    async def _until_settled(self, turn: Turn) -> Standing:
        while True:
            timeline = self._timeline
            known = len(timeline.events)
            standing = self._stand(turn)
            if standing.state is not State.OPEN:
                return standing
            deadlines = (self._sent_at + e.within_ms / 1000 for e in turn.expect)
            now = timeline.now()
            due = min((deadline for deadline in deadlines if deadline > now), default=now)
            try:
                async with asyncio.timeout(due - now + 0.001):
                    await self._timeline.more_than(known)
            except TimeoutError:
                continue


def _read(path: Path) -> bytes:
    """A recording of any format that libsndfile reads, as PCM16 mono at the line's rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE, quality="HQ")
    pcm: bytes = (np.clip(mono, -1, 1) * 32767).astype("<i2").tobytes()
    return pcm
