"""Activities of a call's workflow: the record and the telephone, and the media side of an instance.

Those of the task queue `calls` run on any worker; `end_media` runs on the instance that carries the
call. Each is safe to repeat, except `dial`, which its workflow asks for once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from loguru import logger
from temporalio import activity

from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import EndReason
from agent.lifecycle.told import event_to_json
from agent.lifecycle.workflow import Begun, MediaOrder, PhoneOrder, RecordWrite
from agent.ports import CallMedia
from agent.record.call_log import CallLog
from agent.record.decision import rows
from agent.runner.phone_requests import PhoneRequests

_BEAT_SECS = 1.0


class CallActivities:
    """What the workflow of a call has done: the record, and the requests to Twilio."""

    def __init__(self, call_log: CallLog, requests: PhoneRequests) -> None:
        self._call_log = call_log
        self._requests = requests

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities, for a worker of the task queue `calls`."""
        return [self.begin, self.write_record, self.dial, self.hang_up, self.look_up]

    @activity.defn
    async def begin(self, order: PhoneOrder) -> Begun:
        """Take the call over from the record; nothing to do for one that was withdrawn or ended."""
        call = await self._call_log.take_over(order.call_id)
        return Begun(None) if call is None else Begun(call.life, call.revision)

    @activity.defn
    async def write_record(self, write: RecordWrite) -> None:
        """Store the newest state and the events that led to it."""
        state = CallState.from_json(write.state)
        events = rows(write.call_id, write.events, write.revision)
        await self._call_log.store_life(
            write.call_id, state, events, revision=write.revision, after=write.after
        )

    @activity.defn
    async def dial(self, order: PhoneOrder) -> dict[str, Any]:
        """Place the call; the answer is an event as JSON."""
        with logger.contextualize(call_id=order.call_id):
            async with _beating():
                return event_to_json(await self._requests.dial(order.call_id))

    @activity.defn
    async def hang_up(self, order: PhoneOrder) -> None:
        """End the call at Twilio."""
        assert order.twilio_sid is not None, "a hang-up names the call"
        with logger.contextualize(call_id=order.call_id):
            async with _beating():
                await self._requests.hang_up(order.call_id, order.twilio_sid)

    @activity.defn
    async def look_up(self, order: PhoneOrder) -> dict[str, Any] | None:
        """Ask Twilio about the call; the answer is an event as JSON, None when there is none."""
        with logger.contextualize(call_id=order.call_id):
            async with _beating():
                answer = await self._requests.look_up(order.call_id, order.twilio_sid)
        return None if answer is None else event_to_json(answer)


class MediaActivities:
    """What must happen on the instance that carries a call.

    `on_end` is called with the call's id once the call is over; it must not block.
    """

    def __init__(self, media: CallMedia, on_end: Callable[[str], None]) -> None:
        self._media = media
        self._on_end = on_end

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities, for a worker of the instance's task queue."""
        return [self.end_media]

    @activity.defn
    async def end_media(self, order: MediaOrder) -> None:
        """Stop the call's pipeline and close its stream, or release what was prepared."""
        with logger.contextualize(call_id=order.call_id):
            if order.reason is None:
                await self._media.release(order.call_id)
            else:
                await self._media.end(order.call_id, EndReason(order.reason))
            if order.over:
                self._on_end(order.call_id)


@contextlib.asynccontextmanager
async def _beating() -> AsyncIterator[None]:
    """Send heartbeats, so that the death of this worker is noticed within seconds."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(_BEAT_SECS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
