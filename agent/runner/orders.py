"""Carries out lifecycle commands in background tasks: timers, media side, telephone.

Nothing is decided or retried here. Failures are logged and recorded as events of the call; the
rules have a timer for everything that must be retried.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from loguru import logger

from agent.lifecycle.events import (
    Dial,
    EndMedia,
    Event,
    HangUp,
    LookUp,
    Release,
    Timer,
    TimerFired,
    Warm,
)
from agent.ports import CallMedia
from agent.runner.phone_requests import PhoneRequests

PhoneCommand = Dial | HangUp | LookUp
MediaCommand = Warm | Release | EndMedia
Tell = Callable[[str, Event], Awaitable[None]]

_MEDIA_SECS = 15.0


class Timers:
    """One timer of each kind for each call."""

    def __init__(self, fired: Callable[[str, TimerFired], None], now: Callable[[], float]) -> None:
        self._fired = fired
        self._now = now
        self._handles: dict[str, dict[Timer, asyncio.TimerHandle]] = {}
        self._closed = False

    def arm(self, call_id: str, timer: Timer, at: float) -> None:
        """Fire at `at` (seconds since the epoch), at once when that is past."""
        self.cancel(call_id, timer)
        if self._closed:
            return
        delay = max(0.0, at - self._now())
        handle = asyncio.get_running_loop().call_later(delay, self._fire, call_id, timer, at)
        self._handles.setdefault(call_id, {})[timer] = handle

    def cancel(self, call_id: str, timer: Timer) -> None:
        """Cancel one timer."""
        handles = self._handles.get(call_id, {})
        handle = handles.pop(timer, None)
        if handle is not None:
            handle.cancel()
        if not handles:
            self._handles.pop(call_id, None)

    def forget(self, call_id: str) -> None:
        """Cancel all timers of a call."""
        for timer in list(self._handles.get(call_id, {})):
            self.cancel(call_id, timer)

    def armed(self, call_id: str) -> set[Timer]:
        """The timers of a call that are set."""
        return set(self._handles.get(call_id, {}))

    def close(self) -> None:
        """Cancel all timers; later `arm` calls do nothing."""
        self._closed = True
        for call_id in list(self._handles):
            self.forget(call_id)

    def _fire(self, call_id: str, timer: Timer, at: float) -> None:
        self.cancel(call_id, timer)
        # A loop's clock may be coarse, and the rules ignore a timer that fires early.
        self._fired(call_id, TimerFired(max(at, self._now()), timer))


class MediaOrders:
    """Runs media commands, one after the other for each call."""

    def __init__(self, media: CallMedia) -> None:
        self._media = media
        self._orders: dict[str, deque[MediaCommand]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def order(self, call_id: str, command: MediaCommand) -> None:
        """Queue a command behind the earlier ones of the call."""
        waiting = self._orders.get(call_id)
        if waiting is not None:
            waiting.append(command)
            return
        self._orders[call_id] = deque([command])
        task = asyncio.create_task(self._run_queue(call_id), name=f"media-{call_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for running commands, then cancel them."""
        await _finish(self._tasks, timeout)

    async def _run_queue(self, call_id: str) -> None:
        with logger.contextualize(call_id=call_id):
            waiting = self._orders[call_id]
            try:
                while waiting:
                    await self._do(call_id, waiting.popleft())
            finally:
                del self._orders[call_id]

    async def _do(self, call_id: str, command: MediaCommand) -> None:
        try:
            async with asyncio.timeout(_MEDIA_SECS):
                match command:
                    case Warm():
                        await self._media.warm(call_id)
                    case Release():
                        await self._media.release(call_id)
                    case EndMedia(reason):
                        await self._media.end(call_id, reason)
        except Exception as error:
            failed = logger.bind(command=type(command).__name__).opt(exception=error)
            failed.error("A media command failed")


class PhoneOrders:
    """Runs telephone commands: those of one decision in order, different decisions concurrently."""

    def __init__(
        self,
        requests: PhoneRequests,
        tell: Tell,
    ) -> None:
        self._requests = requests
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def order(self, call_id: str, commands: Sequence[PhoneCommand]) -> None:
        """Run these commands and report their results as events."""
        if not self._closed:
            self._start(call_id, self._run_queue(call_id, commands))

    def report(self, call_id: str, event: Event) -> None:
        """Report an event in a background task."""
        if not self._closed:
            self._start(call_id, self._tell(call_id, event))

    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, then cancel; after a restart, calls are looked up."""
        self._closed = True
        await _finish(self._tasks, timeout)

    def _start(self, call_id: str, work: Awaitable[None]) -> None:
        task = asyncio.create_task(_awaited(call_id, work), name=f"life-{call_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_queue(self, call_id: str, commands: Sequence[PhoneCommand]) -> None:
        for command in commands:
            match command:
                case Dial():
                    await self._tell(call_id, await self._requests.dial(call_id))
                case HangUp(twilio_sid):
                    await self._requests.hang_up(call_id, twilio_sid)
                case LookUp(twilio_sid):
                    answer = await self._requests.look_up(call_id, twilio_sid)
                    if answer is not None:
                        await self._tell(call_id, answer)


async def _awaited(call_id: str, work: Awaitable[None]) -> None:
    with logger.contextualize(call_id=call_id):
        await work


async def _finish(tasks: set[asyncio.Task[None]], timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            while tasks:
                await asyncio.wait(tasks)
    except TimeoutError:
        pass
    while tasks:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
