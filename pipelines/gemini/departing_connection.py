"""Departures: carries out what `Departure` decides for the connection that serves."""

import asyncio
from collections.abc import Awaitable, Callable

from pipelines.gemini.departure import Departure, Step, Successor

# How often a connection that has to go is looked at.
LOOKS_EVERY_SECS = 0.05


class Departures:
    """The planned end of the connection that serves; one at a time."""

    def __init__(
        self,
        *,
        is_quiet: Callable[[], bool],
        successor: Callable[[], Successor],
        open_next: Callable[[], None],
        discard: Callable[[], None],
        take_over: Callable[[str], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        """`is_quiet`: leaving now loses nothing. The others do what the steps are called.

        `take_over` is told whether it was "planned" or "forced".
        """
        self._is_quiet = is_quiet
        self._successor = successor
        self._open_next = open_next
        self._discard = discard
        self._take_over = take_over
        self._leave = leave
        self._departing: asyncio.Task[None] | None = None
        self._expected: asyncio.TimerHandle | None = None

    def expect(self, at: float) -> None:
        """Begin by oneself at that time of the loop's clock, when nothing else was heard."""
        self._expected = asyncio.get_running_loop().call_at(at, self.begin, None)

    def begin(self, deadline: float | None) -> None:
        """Look for a moment to leave; until the deadline, if there is one."""
        self.stop()
        self._departing = asyncio.create_task(self._depart(Departure(deadline)), name="departing")

    def stop(self) -> None:
        """Another connection serves, or none."""
        if self._expected is not None:
            self._expected.cancel()
            self._expected = None
        departing, self._departing = self._departing, None
        if departing is not None and departing is not asyncio.current_task():
            departing.cancel()

    async def _depart(self, departure: Departure) -> None:
        opened = False
        while True:
            quiet, now = self._is_quiet(), asyncio.get_running_loop().time()
            successor = self._successor() if opened else Successor.NONE
            match departure.step(now, quiet=quiet, successor=successor):
                case Step.OPEN:
                    opened = True
                    self._open_next()
                case Step.DISCARD:
                    opened = False
                    self._discard()
                case Step.SWITCH:
                    await self._take_over("planned" if quiet else "forced")
                    return
                case Step.LEAVE:
                    self._leave()
                    return
                case Step.WAIT:
                    await asyncio.sleep(LOOKS_EVERY_SECS)
