"""SecondConnection: opens a connection beside the one that serves, and closes it if not needed.

open ─▶ OPENING ─┬─▶ OPEN ─┬─▶ takes over (`GeminiSession`)
                 │         └─▶ dismissed, or lost
                 └─▶ REFUSED
"""

import asyncio
from collections.abc import Awaitable, Callable

from agent.ports import Record
from pipelines.gemini.closing_connections import ClosingConnections
from pipelines.gemini.connector import Connector, Opened
from pipelines.gemini.continuity import Continuity, Purpose
from pipelines.gemini.departure import Successor
from pipelines.gemini.leg import Leg


class SecondConnection:
    """The one of a call that does not serve, or the attempt to open it; at most one at a time."""

    def __init__(
        self,
        legs: Continuity[Leg],
        connector: Connector,
        closing: ClosingConnections,
        record: Record,
        *,
        start: Callable[[Opened], Leg],
        brief: Callable[[Leg], Awaitable[None]],
    ) -> None:
        """`start` makes a leg that receives; `brief` tells a hedge what it has to answer."""
        self._legs = legs
        self._connector = connector
        self._closing = closing
        self._record = record
        self._start = start
        self._brief = brief
        self._opening: asyncio.Task[None] | None = None
        # What the last attempt was for.
        self._purpose: Purpose | None = None

    @property
    def is_opening(self) -> bool:
        """An attempt goes on."""
        return self._opening is not None and not self._opening.done()

    @property
    def is_hedge(self) -> bool:
        """The connection, or the last attempt to open one, is a hedge."""
        return Purpose.HEDGE in (self._legs.purpose, self._purpose)

    @property
    def successor(self) -> Successor:
        """How far the connection is that is to take over."""
        if self._legs.purpose is Purpose.SUCCESSOR:
            return Successor.OPEN
        if self._opening is None:
            return Successor.NONE
        return Successor.REFUSED if self._opening.done() else Successor.OPENING

    def open(self, purpose: Purpose, handle: str | None = None) -> None:
        """Begin to open one; `handle`: of the session that it continues."""
        self._purpose = purpose
        self._opening = asyncio.create_task(self._open(purpose, handle), name="beside")

    def replace(self, purpose: Purpose, handle: str | None) -> None:
        """Open one in place of the one that is there, or is being opened."""
        if self._legs.beside is not None or self._opening is not None:
            self.dismiss("departing")
        self.open(purpose, handle)

    def took_over(self) -> None:
        """It serves from now on: there is no second one."""
        self._opening = None

    def first_was_lost(self) -> None:
        """Give up a successor that is still being opened: its handle is old."""
        if self.is_opening and self._purpose is not Purpose.HEDGE:
            self.dismiss("dropped")

    def dismiss(self, why: str) -> None:
        """Close it: it is not needed, or came too late."""
        self.stop()
        if (leg := self._legs.dismiss()) is not None:
            self._record.event("model.dismissed", {"why": why})
            self._closing.close_soon(leg.connection, leg.pump)

    def stop(self) -> None:
        """End the attempt to open one."""
        opening, self._opening = self._opening, None
        if opening is not None and opening is not asyncio.current_task():
            opening.cancel()

    async def _open(self, purpose: Purpose, handle: str | None) -> None:
        opened = await self._connector.connect_once(handle)
        if opened is None:
            return
        leg = self._start(opened)
        self._legs.stand_by(leg, purpose)
        assert leg.pump is not None
        leg.pump.add_done_callback(lambda _: self._ended(leg))
        if purpose is Purpose.HEDGE:
            await self._brief(leg)

    def _ended(self, leg: Leg) -> None:
        if leg is self._legs.beside:
            self._legs.lost(leg)
            self._closing.close_soon(leg.connection)
