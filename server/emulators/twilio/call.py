"""The life of one call at Twilio: dialled or coming in, answered or not, talked through, over.

One task lives it. What the call does at the moment (ringing, following TwiML) is work of its
own, which a hang-up or a redirect cancels.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from server.emulators.twilio.behaviour import (
    SIP_CANCELED,
    Behaviour,
    Ring,
    Rung,
    ring,
    rings,
)
from server.emulators.twilio.call_state import EVENT_OF, NEXT, CallState
from server.emulators.twilio.callbacks import Callbacks, timestamp
from server.emulators.twilio.detection import detect
from server.emulators.twilio.errors import Code
from server.emulators.twilio.faults import CallbackPlan
from server.emulators.twilio.handset import Handset
from server.emulators.twilio.line import Line
from server.emulators.twilio.media_stream import MediaStream
from server.emulators.twilio.mulaw import PACKET_MS
from server.emulators.twilio.order import Detection, Document, Order
from server.emulators.twilio.person import Person, live_through
from server.emulators.twilio.record import CallRecord, Moment
from server.emulators.twilio.waiting import Changes
from server.emulators.twilio.webhooks import Webhooks

API_VERSION = "2010-04-01"
# How long a person's function may take to notice that the call is over.
PERSON_LEAVES_WITHIN_SECS = 1.0


_STATE_OF = {
    Ring.BUSY: CallState.BUSY,
    Ring.NO_ANSWER: CallState.NO_ANSWER,
    Ring.FAILED: CallState.FAILED,
}

T = TypeVar("T")


class WrongState(Exception):
    """What was asked for cannot be done to a call in this state."""


class CallOver(Exception):
    """The call ended before it came to what was waited for."""


class FollowsTwiml(Protocol):
    """Follows TwiML for one call; `rejected` is the reason of a <Reject>."""

    rejected: str | None

    async def follow(self, document: Document) -> Document | None:
        """Follow a document to its end: what to go on with, or None to hang up."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What every call of one emulator shares."""

    account_sid: str
    auth_token: str
    numbers: frozenset[str]
    webhooks: Webhooks
    plan: Callable[[], CallbackPlan]
    # None: nobody is registered for the number.
    behaviour: Callable[[str], Behaviour | None]
    tell: Callable[["EmulatedCall", Moment], None]
    conversation: Callable[["EmulatedCall"], FollowsTwiml]
    tls: ssl.SSLContext | None = None


class EmulatedCall:
    """One call. `record` keeps what happened, `until` and `ended` wait for it."""

    def __init__(self, exchange: Exchange, order: Order, behaviour: Behaviour, *, inbound: bool):
        self.sid = "CA" + uuid4().hex
        self.order = order
        self.exchange = exchange
        self.inbound = inbound
        self.state = CallState.QUEUED
        self.answered_by: str | None = None
        self.created_at = self.updated_at = datetime.now(UTC)
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.hung_up_by: str | None = None
        self.changes = Changes()
        self.record = CallRecord(self._announce)
        self.callbacks = Callbacks(exchange.webhooks, self.record, exchange.plan)
        self.line: Line | None = None
        self.stream: MediaStream | None = None
        self._behaviour = behaviour
        self._conversation = exchange.conversation(self)
        self._next: Document | None = None
        self._sip_code = 200
        self._sequence = 0
        self._finished = False
        self._rung: Rung | None = None
        self._work: asyncio.Task[Any] | None = None
        self._line_task: asyncio.Task[None] | None = None
        self._person_task: asyncio.Task[None] | None = None
        self._detecting: asyncio.Task[None] | None = None
        self.record.statuses.append((asyncio.get_running_loop().time(), self.state.value))
        self.record.note("queued", to=order.to, from_=order.from_)
        for event in order.unknown_events:
            self.record.error(
                Code.BAD_STATUS_CALLBACK_EVENT, f"There is no StatusCallbackEvent {event!r}"
            )
        self._task = asyncio.create_task(self._run())

    # --- what others see and do -----------------------------------------------------------

    @property
    def status(self) -> str:
        """Twilio's word for where the call is."""
        return self.state.value

    @property
    def direction(self) -> str:
        """Who dialled, in Twilio's words."""
        return "inbound" if self.inbound else "outbound-api"

    @property
    def duration_secs(self) -> int | None:
        """Whole seconds from answer to end; 0 without an answer, None while it lasts."""
        if not self.state.is_over:
            return None
        if self.line is None:
            return 0
        return round(self.record.statuses[-1][0] - self.line.answered_at)

    async def until(self, status: str) -> None:
        """Wait until the call has (had) this status.

        Raises: CallOver when it ended without.
        """
        await self.changes.until(lambda: self._had(status) or self.state.is_over)
        if not self._had(status):
            raise CallOver(f"the call ended {self.status}, it never was {status}")

    async def ended(self) -> str:
        """Wait for the end; the final status."""
        await self.changes.until(lambda: self.state.is_over)
        return self.status

    async def happened(self, kind: str) -> Moment:
        """Wait for the first moment of a kind. Raises: CallOver when the call ended without."""
        await self.changes.until(lambda: self.record.first(kind) is not None or self._finished)
        moment = self.record.first(kind)
        if moment is None:
            raise CallOver(f"the call ended {self.status} without {kind}")
        return moment

    async def settled(self) -> str:
        """Wait for the end and for every callback to be delivered; the final status."""
        await asyncio.wait({self._task})
        await self.callbacks.delivered()
        return self.status

    def hang_up(self, by: str = "caller") -> None:
        """End the call, whoever wants it: "caller" (the person), "api", "network"; once."""
        if self.state.is_over or self.hung_up_by is not None:
            return
        self.hung_up_by = by
        self.record.note("hung_up", by=by)
        if self._work is not None:
            self._work.cancel()

    def lose_stream(self) -> None:
        """Break the media stream's connection, if there is one; the call goes on behind it."""
        if self.stream is not None:
            self.record.note("stream.lost")
            self.stream.lose()

    def redirect(self, document: Document) -> None:
        """Leave what the call is doing and go on with another document.

        Raises: WrongState unless the call is in progress.
        """
        if self.state is not CallState.IN_PROGRESS or self.hung_up_by is not None:
            raise WrongState("Call is not in-progress. Cannot redirect.")
        self._next = document
        self.record.note("redirected", url=document.url)
        if self._work is not None:
            self._work.cancel()

    def write_wav(self, path: str | Path) -> None:
        """A stereo WAV at 8 kHz: the caller left, the agent right, from the answer on."""
        self.record.write_wav(path)

    def form(self) -> dict[str, str]:
        """The parameters that every request of Twilio's about a call carries."""
        order = self.order
        form = {
            "AccountSid": self.exchange.account_sid,
            "ApiVersion": API_VERSION,
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Called": order.to,
            "Caller": order.from_,
            "Direction": self.direction,
            "From": order.from_,
            "To": order.to,
        }
        if self.answered_by:
            form["AnsweredBy"] = self.answered_by
        return form

    async def close(self) -> None:
        """Stop at once, as if the exchange burnt down: no callbacks."""
        self._task.cancel()
        await asyncio.wait({self._task})
        for task in (self._detecting, self._person_task, self._line_task):
            if task is not None:
                task.cancel()
        await self.callbacks.stop()

    def answer(self) -> Line:
        """Pick up, once; the line."""
        if self.line is None:
            rung = self._rung or Rung(Ring.ANSWERED)
            person = rung.person or Person()
            self.line = self.record.line = Line(
                self.changes,
                snr_db=person.snr_db,
                conditions=person.conditions,
                note=self.record.note,
            )
            self._become(CallState.IN_PROGRESS)
            self._line_task = asyncio.create_task(self.line.keep_time())
            phone = Handset(self.line, self.record, self.changes, self.hang_up, person.voice)
            self._person_task = asyncio.create_task(live_through(person, phone, self.record))
        return self.line

    # --- its life -------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            final = await self._live()
        except Exception as problem:
            self.record.note("emulator.failed", problem=repr(problem))
            final = CallState.COMPLETED if self.line else CallState.FAILED
        finally:
            people = await self._put_down()
        self._become(final)
        if people:
            await asyncio.wait(people, timeout=PERSON_LEAVES_WITHIN_SECS)
            for task in people:
                task.cancel()
        self._finished = True
        self.changes.happened()

    async def _live(self) -> CallState:
        if self.hung_up_by is not None:
            return CallState.CANCELED
        self._become(CallState.INITIATED)
        if rings(self._behaviour):
            self._become(CallState.RINGING)
        rung = await self._working(self._ring())
        if rung is None:
            self._sip_code = SIP_CANCELED
            return CallState.CANCELED
        self._rung, self._sip_code = rung, rung.sip_code
        if rung.outcome is not Ring.ANSWERED:
            return _STATE_OF[rung.outcome]
        document: Document | None = self.order.document
        if not self.inbound:
            self.answer()
            if self.order.detection is not None:
                await self._working(self._detect(self.order.detection, rung.is_machine))
        while document is not None and self.hung_up_by is None:
            followed = await self._working(self._conversation.follow(document))
            document, self._next = self._next or followed, None
        if self.line is not None:
            return CallState.COMPLETED
        if self.hung_up_by is not None:
            return CallState.CANCELED
        rejected = self._conversation.rejected
        return CallState.BUSY if rejected == "busy" else CallState.FAILED

    async def _ring(self) -> Rung:
        if self.inbound:
            # It rings at the application, which answers by its TwiML.
            return await ring(self._behaviour, float("inf"))
        return await ring(self._behaviour, self.order.timeout_secs)

    async def _working(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do this, unless somebody hangs up or redirects the call meanwhile: None."""
        if self.hung_up_by is not None or self._next is not None:
            work.close()
            return None
        self._work = asyncio.create_task(work)
        try:
            await asyncio.wait({self._work})
            return None if self._work.cancelled() else self._work.result()
        except asyncio.CancelledError:
            self._work.cancel()
            await asyncio.wait({self._work})
            raise
        finally:
            self._work = None

    async def _detect(self, detection: Detection, is_machine: bool) -> None:
        self._detecting = asyncio.create_task(self._find_out(detection, is_machine))
        if not detection.is_async:
            await asyncio.wait({self._detecting})

    async def _find_out(self, detection: Detection, is_machine: bool) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.answered_by = await detect(
            self.record,
            self.changes,
            is_machine=is_machine,
            waits_for_beep=detection.waits_for_beep,
        )
        self.record.note("answered_by", who=self.answered_by)
        if detection.is_async and detection.callback_url:
            took_ms = round((loop.time() - started) * 1_000)
            form = self.form() | {"MachineDetectionDuration": str(took_ms)}
            self.callbacks.send("amd", detection.callback_url, detection.callback_method, form)

    async def _put_down(self) -> set[asyncio.Task[None]]:
        """Close the line; whoever has not left it at once."""
        if self._detecting is not None:
            self._detecting.cancel()
        if self.line is None:
            return set()
        self.line.close()
        tasks = {task for task in (self._person_task, self._line_task) if task is not None}
        _, staying = await asyncio.wait(tasks, timeout=PACKET_MS / 1_000)
        return staying

    def _had(self, status: str) -> bool:
        return any(had == status for _, had in self.record.statuses)

    def _become(self, state: CallState) -> None:
        if state not in NEXT.get(self.state, frozenset()):
            raise WrongState(f"a call that is {self.state} cannot become {state}")
        self.state = state
        self.updated_at = datetime.now(UTC)
        if state is CallState.INITIATED:
            self.started_at = self.updated_at
        if state.is_over:
            self.ended_at = self.updated_at
        self.record.statuses.append((asyncio.get_running_loop().time(), state.value))
        self.record.note(state.value)
        self._tell_status(EVENT_OF.get(state, "completed"))
        self.changes.happened()

    def _tell_status(self, event: str) -> None:
        subscription = self.order.subscription
        if subscription.url is None or event not in subscription.events:
            return
        form = self.form() | {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._sequence),
            "Timestamp": timestamp(),
        }
        self._sequence += 1
        duration = self.duration_secs
        if duration is not None:
            form |= {
                "CallDuration": str(duration),
                "Duration": str(-(-duration // 60)),
                "SipResponseCode": str(self._sip_code),
            }
        self.callbacks.send(event, subscription.url, subscription.method, form)

    def _announce(self, moment: Moment) -> None:
        self.exchange.tell(self, moment)
        self.changes.happened()
