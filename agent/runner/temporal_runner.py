"""Runs the life of each call in a workflow of its own, and in this process while Temporal is away.

    place ─▶ record ─▶ workflow (update-with-start): dials, answers
    tell  ─▶ the state is assumed from the record ─▶ signal; kept in the database while away
    end   ─▶ signal, and the record has it before the caller goes on
    terminate ─▶ update

Temporal away: an outbound call is refused, an inbound one lives by the local runner until it can be
handed to a workflow, and live calls go on talking.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from loguru import logger

from agent.clock import Clock, utc_datetime
from agent.lifecycle.events import (
    ConversationEnded,
    Event,
    InstanceStopped,
    Placed,
    StreamEnded,
    Terminate,
)
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState, Patience, new_call
from agent.lifecycle.statuses import Direction, Driver
from agent.lifecycle.told import Told
from agent.ports import LifecycleUnavailable
from agent.record.call_log import CallLog, DatabaseUnavailable, NoSuchCall
from agent.record.decision import as_call_event
from agent.record.models import Call
from agent.runner.assumed_states import AssumedStates
from agent.runner.known_calls import KnownCalls
from agent.runner.local_runner import LocalRunner
from agent.runner.untold_outbox import UntoldOutbox
from agent.runner.workflow_client import CallIsOver, Workflows, WorkflowsAway

_DIAL_SECS = 10.0
# How long an answer that a live call waits for may depend on the database.
_ANSWER_SECS = 1.5
_CHECK_SECS = 2.0
_ENDS_WITHIN_SECS = 300.0
_FIRST_PAUSE_SECS = 0.2
_LONGEST_PAUSE_SECS = 10.0
# How often the record is read for what a workflow writes now.
_LOOK_SECS = 0.05


class TemporalRunner:
    """`ports.CallLifecycle` over workflows; several instances share a record and a namespace.

    `on_end` is called once for each call that ends on this instance, with its final record. When
    no worker has begun a placed call after `begin_secs`, it was not dialled, and never will be; the
    end of a conversation, or of a call by the API, waits `tell_now_secs` for its workflow.
    """

    def __init__(
        self,
        workflows: Workflows,
        local: LocalRunner,
        call_log: CallLog,
        *,
        instance: str,
        patience: Patience | None = None,
        on_end: Callable[[Call], None] | None = None,
        begin_secs: float = 8.0,
        tell_now_secs: float = 3.0,
    ) -> None:
        self._begin_secs = begin_secs
        self._tell_now_secs = tell_now_secs
        self.workflows = workflows
        self._local = local
        self._call_log = call_log
        self._instance = instance
        self._patience = patience or Patience()
        self._on_end = on_end
        self.now: Clock = local.now
        self._known = KnownCalls()
        self._assumed = AssumedStates()
        self._outbox = UntoldOutbox(call_log)
        self._to_hand_over: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reachable(self) -> bool:
        """Whether Temporal answered the last time."""
        return self.workflows.reachable

    # --- ports.CallLifecycle

    async def place(self, call: Call, event: Placed) -> Call:
        """Create the record and start the call's workflow, which dials.

        Raises: IdempotencyConflict; LifecycleUnavailable: nothing was placed.
        """
        if event.inbound:
            return await self._place_inbound(call, event)
        if not self.reachable:
            raise LifecycleUnavailable("Temporal cannot be reached now")
        call_id = call.id
        kept = await self._create(call, event)
        if kept.id != call_id:
            return await self._as_placed_before(kept)
        self._local.prepare(call_id)
        try:
            await self._begin(kept)
        except LifecycleUnavailable:
            self._local.release(call_id)
            raise
        return await self.record(call_id)

    async def tell(self, call_id: str, *events: Event) -> CallState:
        """Tell the call's workflow of events; return the state that they lead to.

        Raises: NoSuchCall.
        """
        state = await self._tell(call_id, events, self.record)
        return state or await self._local.tell(call_id, *events)

    async def tell_or_assume(self, call_id: str, *events: Event) -> CallState:
        """As `tell`; without the database, from the record as it was seen last.

        Raises: NoSuchCall; DatabaseUnavailable for a call that this process does not know.
        """
        state = await self._tell(call_id, events, self.record_or_known)
        return state or await self._local.tell_or_assume(call_id, *events)

    def tell_later(self, call_id: str, event: Event) -> None:
        """Tell an event in the background, as `tell_until_kept` does."""
        self._start_task(self.tell_until_kept(call_id, event), f"tell-{call_id}")

    async def tell_until_kept(self, call_id: str, event: Event) -> None:
        """Tell an event that nobody else reports, retrying while the database is unavailable."""
        pause = _FIRST_PAUSE_SECS
        while True:
            try:
                if await self._tell(call_id, [event], self.record_or_known) is None:
                    await self._local.tell_until_kept(call_id, event)
            except NoSuchCall:
                return
            except DatabaseUnavailable:
                logger.bind(call_id=call_id).warning("An event of a call waits for the database")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)
                continue
            return

    async def record(self, call_id: str) -> Call:
        """The record of a call. Raises: NoSuchCall."""
        call = await self._call_log.get(call_id)
        self._known.note(call)
        return call

    async def record_or_known(self, call_id: str) -> Call:
        """The record of a call; without the database, as this process saw it last.

        Raises: NoSuchCall; DatabaseUnavailable for a call that this process does not know.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECS):
                return await self.record(call_id)
        except (DatabaseUnavailable, TimeoutError) as error:
            known = self._known.get(call_id)
            if known is None:
                raise DatabaseUnavailable("the database cannot be used now") from error
            return known

    async def state(self, call_id: str) -> CallState:
        """The recorded state of a call. Raises: NoSuchCall."""
        return CallState.from_json((await self.record(call_id)).life)

    async def ended(self, call_id: str, timeout: float) -> Call | None:
        """Wait for the end of a call; None when it still goes on after `timeout` seconds.

        Raises: NoSuchCall.
        """
        call = await self.record(call_id)
        try:
            async with asyncio.timeout(timeout):
                while not call.status.is_terminal:
                    await self._until_over(call)
                    call = await self.record(call_id)
        except TimeoutError:
            return None
        return call

    # --- the process's lifespan

    async def resume(self) -> None:
        """Take up what an earlier process left, and watch whether Temporal can be reached."""
        await self._local.resume()
        now = self.now()
        for call in await self._call_log.unfinished():
            state = CallState.from_json(call.life)
            if state.driver is Driver.LOCAL:
                self._to_hand_over.add(call.id)
            elif state.stream_sid and state.instance == self._instance:
                # The stream did not fail, so it must not count as a short one.
                carried = state.patience.short_stream_secs
                ended = StreamEnded(now, state.stream_sid, carried)
                await self.tell(call.id, ended, InstanceStopped(now))
        await self._check()
        self._start_task(self._keep_checking(), "temporal-check")

    async def close(self, timeout: float = 5.0) -> None:
        """Stop; the calls go on, in their workflows and at Twilio."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._local.close(timeout)

    def call_is_over(self, call_id: str) -> None:
        """A workflow says that a call of this instance has ended: report it, in the background."""
        self._assumed.forget(call_id)
        self._start_task(self._report_end(call_id), f"end-{call_id}")

    async def _report_end(self, call_id: str) -> None:
        """Report the end of a call once the record has it, which the workflow writes meanwhile."""
        try:
            call = await self._recorded_end(call_id)
        except NoSuchCall:
            logger.bind(call_id=call_id).debug("A call was erased before its end was reported")
            return
        if call is None:
            logger.bind(call_id=call_id).error("The end of a call is not in the record")
            return
        told = logger.bind(call_id=call_id, status=call.status, end_reason=call.end_reason)
        told.info("A call has ended")
        if self._on_end is not None:
            with logger.catch(message="The end of a call could not be reported"):
                self._on_end(call)

    async def _recorded_end(self, call_id: str) -> Call | None:
        pause = _FIRST_PAUSE_SECS
        while True:
            try:
                return await self.ended(call_id, _ENDS_WITHIN_SECS)
            except DatabaseUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)

    # --- placing

    async def _create(self, call: Call, event: Placed) -> Call:
        direction = Direction.INBOUND if event.inbound else Direction.OUTBOUND
        fresh = new_call(direction, self._patience, Driver.TEMPORAL)
        call.direction, call.created_at = direction, utc_datetime(event.at)
        call.set_life(decide(fresh, event)[0])
        kept = await self._call_log.create(call, [as_call_event(call.id, event)])
        self._known.note(kept)
        return kept

    async def _begin(self, call: Call) -> None:
        """Start the workflow and wait for Twilio's answer. Raises: LifecycleUnavailable."""
        try:
            async with asyncio.timeout(self._begin_secs):
                await self.workflows.place(call)
        except (WorkflowsAway, TimeoutError) as error:
            if await self._call_log.withdraw(call.id):
                raise LifecycleUnavailable("Temporal cannot be reached now") from error
            await self._until_dialled(call)
        except CallIsOver:
            return

    async def _until_dialled(self, call: Call) -> None:
        try:
            async with asyncio.timeout(_DIAL_SECS):
                await self.workflows.until_dialled(call.id)
        except (WorkflowsAway, CallIsOver, TimeoutError):
            pass  # the record says how far it is

    async def _as_placed_before(self, kept: Call) -> Call:
        if not kept.twilio_sid and not _is_local(kept):
            # It may not have its workflow yet: whoever comes first starts it.
            await self._begin(kept)
        return await self.record(kept.id)

    async def _place_inbound(self, call: Call, event: Placed) -> Call:
        if call.idempotency_key is None:
            call.idempotency_key = f"twilio:{event.twilio_sid}"
        call_id = call.id
        if not self.reachable:
            return await self._place_here(call, event)
        kept = await self._create(call, event)
        if kept.id != call_id:
            return kept
        self._local.prepare(call_id)
        try:
            await self.workflows.begin(kept, fresh=True)
        except WorkflowsAway:
            # Its workflow is started by the first event that can be told.
            logger.bind(call_id=call_id).warning("A call begins without Temporal")
        return kept

    async def _place_here(self, call: Call, event: Placed) -> Call:
        kept = await self._local.place(call, event)
        self._to_hand_over.add(kept.id)
        return kept

    # --- telling

    async def _tell(
        self, call_id: str, events: Sequence[Event], read: Callable[[str], Awaitable[Call]]
    ) -> CallState | None:
        """Tell the call's workflow, in the order in which events came; None: it has none."""
        terminates = any(isinstance(event, Terminate) for event in events)
        async with self._locks.setdefault(call_id, asyncio.Lock()):
            call = await read(call_id)
            if _is_local(call):
                return None
            told = [Told.of(event) for event in events]
            state = self._assumed.after(call_id, CallState.from_json(call.life), told)
            signalled = not terminates and await self._send(call_id, told)
        if terminates:
            await self._tell_now(call_id, told)
        elif signalled and any(isinstance(event, ConversationEnded) for event in events):
            await self._until_recorded(call_id, told[-1])
        return state

    async def _tell_now(self, call_id: str, told: Sequence[Told]) -> None:
        """Tell by an update, which returns when the record has it; without a worker, as others."""
        if self.reachable and not self._outbox.holds(call_id):
            try:
                await self.workflows.tell_now(call_id, told, self._tell_now_secs)
                return
            except WorkflowsAway:
                logger.bind(call_id=call_id).warning("No worker has answered in time")
            except CallIsOver:
                await self._tell_ended(call_id, told)
                return
        await self._send(call_id, told)

    async def _send(self, call_id: str, told: Sequence[Told]) -> bool:
        """Signal the workflow; False when it was not, and the events are kept for it."""
        if self.reachable and not self._outbox.holds(call_id):
            try:
                await self._deliver(call_id, told)
                return True
            except WorkflowsAway:
                logger.bind(call_id=call_id).debug("An event of a call waits for Temporal")
        await self._outbox.keep(call_id, told)
        return False

    async def _until_recorded(self, call_id: str, told: Told) -> None:
        """Wait until the record has this event: other instances answer Twilio by it.

        It was told by a signal, because an update waits for a worker, and what is told after it
        would overtake it.
        """
        try:
            async with asyncio.timeout(self._tell_now_secs):
                while not told.is_in(await self.state(call_id)):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECS)
        except (TimeoutError, NoSuchCall, DatabaseUnavailable):
            logger.bind(call_id=call_id).warning("The end of a conversation is recorded later")

    async def _deliver(self, call_id: str, told: Sequence[Told]) -> None:
        try:
            await self.workflows.tell(call_id, told)
        except CallIsOver:
            await self._tell_ended(call_id, told)

    async def _tell_ended(self, call_id: str, told: Sequence[Told]) -> None:
        """Nothing changes any more: the local rules record it, and end what is still there."""
        try:
            await self._local.tell(call_id, *(one.event for one in told))
        except NoSuchCall:
            logger.bind(call_id=call_id).debug("An event of an erased call was dropped")

    async def _until_over(self, call: Call) -> None:
        if _is_local(call):
            await self._local.ended(call.id, _CHECK_SECS)
            return
        try:
            await self.workflows.until_over(call.id)
        except (WorkflowsAway, CallIsOver):
            await asyncio.sleep(_CHECK_SECS)

    # --- while Temporal is away, and when it is back

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECS)
            with logger.catch(message="Temporal could not be checked"):
                await self._check()

    async def _check(self) -> None:
        was = self.reachable
        try:
            await self.workflows.check()
            await self._catch_up()
        except WorkflowsAway as error:
            if was:
                logger.error("Temporal is away: no call can be placed", why=str(error))
            return
        except DatabaseUnavailable:
            logger.warning("What waits for Temporal cannot be read: the database is away")
        if not was:
            logger.info("Temporal is reached")

    async def _catch_up(self) -> None:
        """Hand over the calls that lived here, then tell what waits."""
        for call_id in list(self._to_hand_over):
            await self._hand_over(call_id)
        if not self._outbox.is_empty:
            await self._outbox.deliver(self._deliver)

    async def _hand_over(self, call_id: str) -> None:
        try:
            call = await self._call_log.get(call_id)
        except NoSuchCall:
            self._to_hand_over.discard(call_id)
            return
        if not call.status.is_terminal:
            await self.workflows.begin(call, fresh=False)
            logger.bind(call_id=call_id).info("A call was handed to a workflow")
        self._local.let_go(call_id)
        self._to_hand_over.discard(call_id)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_local(call: Call) -> bool:
    """Whether the rules are applied in this process: a workflow has not taken over, or is done."""
    return call.status.is_terminal or CallState.from_json(call.life).driver is Driver.LOCAL
