"""Scripted parts around a call's life: a telephone network, a media side, short waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent.lifecycle.events import Placed, StreamStarted, TwimlFetched
from agent.lifecycle.state import CallState, Patience
from agent.lifecycle.statuses import EndReason
from agent.ports import CallLifecycle, DialRequest, TelephoneCall
from agent.record.call_log import CallLog
from agent.record.models import Call

# Every wait is short, so that what only a timer brings about is seen soon.
QUICK = Patience(
    ring_margin_secs=0.05,
    queue_secs=0.1,
    limit_margin_secs=0.05,
    last_words_secs=2.0,
    unanswered_secs=0.02,
    unanswered_at_most_secs=0.1,
    unclear_dial_secs=0.02,
    reconcile_secs=0.02,
    reconcile_at_most_secs=0.1,
)
# Short, but not so that a workflow does nothing else than to look up.
CALM = Patience(
    ring_margin_secs=0.5,
    limit_margin_secs=0.5,
    last_words_secs=2.0,
    unanswered_secs=0.5,
    unanswered_at_most_secs=0.7,
    unclear_dial_secs=0.3,
    reconcile_secs=0.4,
    reconcile_at_most_secs=5.0,
)
SECS = 60.0


class Phone:
    """A telephone network: what it is asked, and what it answers."""

    def __init__(self) -> None:
        self.dialled: list[DialRequest] = []
        self.hung_up: list[str] = []
        self.looked_up: list[str | None] = []
        self.calls: dict[str, str] = {}
        self.dial_answer: str | Exception = "CA1"
        self.obeys = True
        self.open = asyncio.Event()
        self.open.set()
        self.failures = 0
        # So many of what is asked from the first hang-up on.
        self.failures_from_hang_up = 0
        self.asked = asyncio.Condition()

    async def dial(self, request: DialRequest) -> str:
        await self._note(self.dialled, request)
        await self.open.wait()
        if isinstance(self.dial_answer, Exception):
            raise self.dial_answer
        self.calls.setdefault(self.dial_answer, "queued")
        return self.dial_answer

    async def hang_up(self, twilio_sid: str) -> None:
        await self._note(self.hung_up, twilio_sid)
        self.failures += self.failures_from_hang_up
        self.failures_from_hang_up = 0
        self._maybe_fail()
        if self.obeys:
            self.calls[twilio_sid] = "completed"

    async def look_up(self, twilio_sid: str) -> TelephoneCall | None:
        await self._note(self.looked_up, twilio_sid)
        self._maybe_fail()
        status = self.calls.get(twilio_sid)
        return TelephoneCall(twilio_sid, status) if status else None

    async def find(self, request: DialRequest) -> TelephoneCall | None:
        await self._note(self.looked_up, None)
        self._maybe_fail()
        return next((TelephoneCall(sid, status) for sid, status in self.calls.items()), None)

    async def until(self, happened: Callable[[], bool]) -> None:
        async with self.asked, asyncio.timeout(SECS):
            await self.asked.wait_for(happened)

    async def _note(self, where: list[Any], what: Any) -> None:
        async with self.asked:
            where.append(what)
            self.asked.notify_all()

    def _maybe_fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionError("Twilio is away")


class ScriptedMedia:
    """A media side that notes its commands."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def warm(self, call_id: str) -> None:
        await self._do("warm", call_id)

    async def release(self, call_id: str) -> None:
        await self._do("release", call_id)

    async def end(self, call_id: str, reason: EndReason) -> None:
        await self._do(f"end {reason.value}", call_id)

    async def _do(self, what: str, call_id: str) -> None:
        await self.open.wait()
        self.orders.append((what, call_id))
        if self.broken:
            raise RuntimeError("the media side is broken")

    async def until(self, call: Call, *orders: str) -> None:
        """Wait until these were given for the call, and no others."""

        async def given() -> bool:
            return self.of(call) == list(orders)

        await eventually(given)

    def of(self, call: Call) -> list[str]:
        return [what for what, call_id in self.orders if call_id == call.id]


class Ends:
    """Counts ends as metrics would."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.came = asyncio.Event()

    def __call__(self, call: Call) -> None:
        self.calls.append(call)
        self.came.set()


def placed(life: CallLifecycle, **more: Any) -> Placed:
    """A call that is placed now."""
    return Placed(life.now(), **({"ring_timeout_secs": 30, "max_duration_secs": 60} | more))


async def answer(life: CallLifecycle, call: Call, stream_sid: str = "MZ1") -> CallState:
    """The phone is picked up, and a stream comes."""
    await life.tell(call.id, TwimlFetched(life.now()))
    return await life.tell(call.id, StreamStarted(life.now(), stream_sid, "here"))


async def kinds(call_log: CallLog, call: Call) -> list[str]:
    """What the record has of a call, in its order."""
    return [event.kind for event in await call_log.events(call.id)]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a workflow brings about: nobody is told when it has."""
    async with asyncio.timeout(SECS):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
