"""Status callbacks of one call: which are asked for, what they say, how they travel.

Source: https://www.twilio.com/docs/voice/api/call-resource#statuscallback
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from server.emulators.twilio.faults import CallbackPlan
from server.emulators.twilio.record import Callback, CallRecord
from server.emulators.twilio.webhooks import Unreachable, Webhooks

EVENTS = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a call's status is told, and which events of it."""

    url: str | None = None
    method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})


class Callbacks:
    """Delivers the callbacks of one call in order, one after the other, as planned."""

    def __init__(
        self, webhooks: Webhooks, record: CallRecord, plan: Callable[[], CallbackPlan]
    ) -> None:
        self._webhooks = webhooks
        self._record = record
        self._plan = plan
        self._on_time: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, event: str, url: str, method: str, form: Mapping[str, str]) -> None:
        """Send one, now or as planned; nobody waits for it."""
        plan = self._plan()
        callback = Callback(event, url, dict(form), lost=event in plan.lose)
        self._record.callbacks.append(callback)
        if callback.lost:
            self._record.note("callback.lost", event=event)
            return
        delay = plan.delay_of(event)
        before = None if delay else self._on_time
        task = asyncio.create_task(
            self._deliver(callback, method, before, delay, 2 if plan.twice else 1)
        )
        if not delay:
            self._on_time = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def delivered(self) -> None:
        """Wait until everything was sent."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Send no more."""
        for task in set(self._tasks):
            task.cancel()
        await self.delivered()

    async def _deliver(
        self,
        callback: Callback,
        method: str,
        before: asyncio.Task[None] | None,
        delay: float,
        times: int,
    ) -> None:
        if before is not None:
            await asyncio.wait({before})
        await asyncio.sleep(delay)
        for _ in range(times):
            try:
                reply = await self._webhooks.send(callback.url, method, callback.form)
            except Unreachable as problem:
                callback.answers.append(None)
                self._record.note("callback", event=callback.event, problem=str(problem))
            else:
                callback.answers.append(reply.status)
                self._record.note("callback", event=callback.event, answer=reply.status)


def timestamp() -> str:
    """Now, as Twilio writes it: RFC 2822."""
    return format_datetime(datetime.now(UTC))


def iso_timestamp() -> str:
    """Now, as Twilio writes it about streams: ISO 8601 in milliseconds, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
