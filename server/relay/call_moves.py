"""CallMoves: has another instance go on with a call that this one carries, because somebody asks.

    POST move ─▶ A ── take ──▶ B: a place, and the call's `home`      only when B is named
                 A: quiet moment ─▶ memory ─▶ lets go ─▶ its stream closes
    Twilio ── TwiML ─▶ any instance ── stream ─▶ any but A: goes on; by the relay, where it is B

The stream may come back to A. Then A finds another instance that takes the call, and passes the
stream on to it.
"""

import asyncio
from collections.abc import Callable

import httpx
from loguru import logger

from agent.live_calls import InstanceReport, LiveCalls, Whereabouts
from server.calls.bounded_waits import within
from server.calls.call_registry import CallRegistry
from server.relay.relay import TAKE, Relay

# A moment in which neither side speaks is waited for so long.
QUIET_WITHIN_SECS = 10.0
# The caller hears nothing meanwhile.
FOUND_WITHIN_SECS = 0.5

NONE_READY = "No other instance is ready."


class NoOtherInstance(Exception):
    """No instance is there to go on with the call; the message is for whoever asked."""


class CallMoves:
    """Moves calls away from this instance."""

    def __init__(
        self,
        registry: CallRegistry,
        live_calls: LiveCalls,
        relay: Relay,
        count: Callable[[str], None],
        *,
        quiet_within_secs: float = QUIET_WITHIN_SECS,
    ) -> None:
        """`count` hears the outcome of each move that is asked for: moved, refused or ended."""
        self._count = count
        self._registry = registry
        self._live_calls = live_calls
        self._relay = relay
        self._quiet_within_secs = quiet_within_secs
        self._moving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for no moment any more."""
        for moving in list(self._moving):
            moving.cancel()
            await asyncio.wait({moving})

    async def move(self, call_id: str, to: str | None) -> None:
        """Begin to move a call that is carried here, to the instance `to` if one is named.

        Raises: NoOtherInstance.
        """
        try:
            await self._find_place(call_id, to)
        except NoOtherInstance:
            self._count("refused")
            raise
        except Exception as error:
            logger.bind(error=type(error).__name__).warning("Other instances are not known")
            self._count("refused")
            raise NoOtherInstance(NONE_READY) from None
        moving = asyncio.create_task(self._let_go(call_id), name=f"move-{call_id}")
        self._moving.add(moving)
        moving.add_done_callback(self._moving.discard)

    async def _find_place(self, call_id: str, to: str | None) -> None:
        others = await self._others()
        if to is None:
            if not others:
                raise NoOtherInstance(NONE_READY)
        elif to == self._registry.instance:
            raise NoOtherInstance("The call is on this instance already.")
        elif to not in others:
            raise NoOtherInstance("No instance of this name is ready.")
        elif not await self._takes(Whereabouts(to, others[to].url), call_id):
            raise NoOtherInstance("The instance does not take the call.")

    async def _let_go(self, call_id: str) -> None:
        moved = await self._registry.let_go(call_id, within_secs=self._quiet_within_secs)
        self._count("moved" if moved else "ended")

    async def elsewhere(self, call_id: str) -> None:
        """Find an instance for a call that was let go here, and whose stream came back."""
        try:
            async with within(FOUND_WITHIN_SECS):
                found = await self._live_calls.find(call_id)
                if found is not None and found.instance != self._registry.instance:
                    return
                for name, report in (await self._others()).items():
                    if await self._takes(Whereabouts(name, report.url), call_id):
                        return
        except Exception as error:
            logger.bind(error=type(error).__name__).warning(
                "No other instance takes a call; it goes on here"
            )

    async def _others(self) -> dict[str, InstanceReport]:
        """The other instances that are ready, the one with the most free places first."""
        reports = await self._live_calls.instances()
        ready = {
            name: report
            for name, report in reports.items()
            if name != self._registry.instance
            and not report.draining
            and report.held < report.capacity
        }
        return dict(sorted(ready.items(), key=lambda each: each[1].held - each[1].capacity))

    async def _takes(self, other: Whereabouts, call_id: str) -> bool:
        if other.url is None:
            return False
        try:
            answer = await self._relay.ask(other, call_id, TAKE)
        except httpx.HTTPError as error:
            logger.bind(error=type(error).__name__).warning(
                "An instance does not answer", instance=other.instance
            )
            return False
        return answer.is_success
