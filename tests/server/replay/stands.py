"""Parts of a replay put up by hand: a telephone on a virtual clock, and nobody at the other end."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

from server.emulators.twilio import EmulatedCall, Handset
from server.emulators.twilio.line import Line
from server.emulators.twilio.record import CallRecord, Moment
from server.emulators.twilio.waiting import Changes
from server.replay.events import Timeline
from server.replay.scenario import Where
from server.replay.virtual_time import VirtualTimeLoop

T = TypeVar("T")


def at(line: int) -> Where:
    """A line of some scenario file."""
    return Where(Path("scenarios/hand_made.yaml"), line)


def in_virtual_time(scene: Callable[[], Awaitable[T]]) -> T:
    """Play a scene on an event loop whose clock jumps."""

    async def played() -> T:
        return await scene()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(played())


class Telephone:
    """A call with a line and a handset, whose moments go to a timeline."""

    def __init__(self, *, rings_secs: float = 0.0) -> None:
        self.changes = Changes()
        self.timeline = Timeline()
        self.record = CallRecord(self._tell)
        self.line: Line | None = None
        self.hung_up_by: str | None = None
        self.rings_secs = rings_secs

    async def __aenter__(self) -> Handset:
        self.record.note("ringing")
        await asyncio.sleep(self.rings_secs)
        self.line = self.record.line = Line(self.changes, note=self.record.note)
        self.record.note("in-progress")
        self._beat = asyncio.create_task(self.line.keep_time())
        return Handset(self.line, self.record, self.changes, self.hang_up, "en-us")

    async def __aexit__(self, *_: object) -> None:
        self.hang_up("test")
        await self._beat
        self.timeline.end()

    def hang_up(self, by: str = "caller") -> None:
        """End the call, once."""
        if self.hung_up_by is None:
            assert self.line is not None
            self.hung_up_by = by
            self.record.note("hung_up", by=by)
            self.line.close()
            self.changes.happened()

    def as_call(self) -> EmulatedCall:
        """It, for who only asks for its line and record."""
        return cast(EmulatedCall, self)

    def _tell(self, moment: Moment) -> None:
        self.timeline.phone(self.as_call(), moment)
        self.changes.happened()
