"""Runs the lifecycle of every call in this process, stored so that a restart continues it.

    tell(events) ─▶ [one transaction: read and lock · decide · save] ─▶ state
                                                    │
                       commands, concurrently: timers, media, telephone ─▶ tell(the result)

A slow or failing telephone or media side never delays `tell`, nor another call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakValueDictionary

from loguru import logger

from agent.clock import Clock, loop_clock, utc_datetime
from agent.lifecycle.events import (
    CancelTimer,
    Command,
    Dial,
    DialFailed,
    DialUnclear,
    EndMedia,
    Event,
    HangUp,
    InstanceStopped,
    LookUp,
    Placed,
    Release,
    SetTimer,
    StreamEnded,
    Timer,
    TimerFired,
    Warm,
    WriteOutcome,
)
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState, Patience, new_call
from agent.lifecycle.statuses import Direction, Driver, EndReason
from agent.ports import CallMedia, Telephone
from agent.record.call_log import CallLog, NoSuchCall
from agent.record.database import DatabaseUnavailable, is_transient
from agent.record.decision import LifeDecision, as_call_event, decide_all
from agent.record.models import Call
from agent.runner.dials import PendingDials
from agent.runner.end_waiters import EndWaiters
from agent.runner.known_calls import KnownCalls
from agent.runner.orders import MediaOrders, PhoneOrders, Timers
from agent.runner.outbox import LifeOutbox
from agent.runner.phone_requests import PhoneRequests

_NOT_DIALLED = "The database could not be used when the call was placed; it was not dialled."
# How long an answer that a live call waits for may depend on the database.
_ANSWER_SECS = 1.5
# How often the record is read for an end that another instance has noted.
_LOOK_SECS = 1.0
_FIRST_PAUSE_SECS = 0.2
_LONGEST_PAUSE_SECS = 10.0
# Timers fire within seconds, wherever they are set.
_OVERDUE_SECS = 600.0
_REMEMBERED_ENDS = 1000
_SWEEP_EVERY_SECS = 86_400.0


class LocalRunner:
    """`ports.CallLifecycle` in one process; several may share a database.

    `on_end` is called once for each call that ends, with its final record; it must not block.
    `elsewhere`: those of some calls that other instances have, which are left to them.
    """

    def __init__(
        self,
        call_log: CallLog,
        telephone: Telephone,
        media: CallMedia,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        on_end: Callable[[Call], None] | None = None,
        elsewhere: Callable[[Sequence[str]], Awaitable[set[str]]] | None = None,
        dial_wait_secs: float = 15.0,
    ) -> None:
        self._call_log = call_log
        self._patience = patience or Patience()
        # Seconds since the epoch, as the running loop tells it.
        self.now: Clock = clock or loop_clock()
        self._on_end = on_end
        self._elsewhere = elsewhere
        self._dial_wait_secs = dial_wait_secs
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._outbox = LifeOutbox()
        self._known = KnownCalls()
        self._telling: set[asyncio.Task[CallState]] = set()
        self._dials = PendingDials()
        self._ends = EndWaiters()
        # The latest calls of which this process was told the end, oldest first.
        self._ended_here: dict[str, None] = {}
        requests = PhoneRequests(telephone, call_log, self.now)
        self._phone = PhoneOrders(requests, self.tell_until_kept)
        self._media = MediaOrders(media)
        self._timers = Timers(self._phone.report, self.now)
        self._sweeping: asyncio.Task[None] | None = None

    # --- ports.CallLifecycle

    async def place(self, call: Call, event: Placed) -> Call:
        """Create the record and dial (outbound); return the call as it is after Twilio's answer.

        An inbound call is created once for its SID, however often Twilio announces it, unless it
        has an idempotency key of its own.

        Raises: IdempotencyConflict.
        """
        call_id = call.id
        if event.inbound and event.twilio_sid and call.idempotency_key is None:
            call.idempotency_key = f"twilio:{event.twilio_sid}"
        direction = Direction.INBOUND if event.inbound else Direction.OUTBOUND
        state, commands = decide(new_call(direction, self._patience), event)
        call.direction, call.created_at = direction, utc_datetime(event.at)
        call.set_life(state)
        async with self._lock(call_id):
            try:
                kept = await self._call_log.create(call, [as_call_event(call_id, event)])
            except (DatabaseUnavailable, asyncio.CancelledError):
                self._give_up_on(call_id, state)
                raise
            if kept.id == call_id:
                self._known.note(kept)
                self._carry_out(call_id, commands)
        await self._dials.until_answered(kept.id, self._dial_wait_secs)
        return await self.record(kept.id)

    async def tell(self, call_id: str, *events: Event) -> CallState:
        """Apply events to a call in one transaction; return its state after them.

        Raises: NoSuchCall.
        """
        async with self._lock(call_id):
            await self._catch_up(call_id)
            return await self._decide(call_id, *events)

    async def tell_or_assume(self, call_id: str, *events: Event) -> CallState:
        """Apply events; without the database, return the state that they lead to.

        Events that cannot be stored now are stored, and their commands carried out, as soon as the
        database can be used again.

        Raises: NoSuchCall; DatabaseUnavailable for a call that this process does not know.
        """
        telling = asyncio.create_task(self.tell(call_id, *events), name=f"tell-{call_id}")
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.wait({telling}, timeout=_ANSWER_SECS)
        known = self._known.get(call_id)
        assumed = self._outbox.waiting(call_id) + list(events)

        def tell_again(told: asyncio.Task[CallState]) -> None:
            if not told.cancelled() and isinstance(told.exception(), DatabaseUnavailable):
                for event in events:
                    self._phone.report(call_id, event)

        if telling.done() and not isinstance(telling.exception(), DatabaseUnavailable):
            return telling.result()
        if known is None:
            return await telling
        telling.add_done_callback(tell_again)
        logger.bind(call_id=call_id).warning("A call is answered without the database")
        return decide_all(call_id, CallState.from_json(known.life), assumed).state

    def tell_later(self, call_id: str, event: Event) -> None:
        """Apply an event in the background, as `tell_until_kept` does."""
        self._phone.report(call_id, event)

    async def record(self, call_id: str) -> Call:
        """The record of a call. Raises: NoSuchCall."""
        return await self._call_log.get(call_id)

    async def record_or_known(self, call_id: str) -> Call:
        """The record of a call; without the database, as this process stored it last.

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

    async def tell_until_kept(self, call_id: str, event: Event) -> None:
        """Apply an event that nobody else reports, retrying while the database is unavailable.

        Later events of the call are applied after it.
        """
        self._outbox.put(call_id, event)
        pause = _FIRST_PAUSE_SECS
        while True:
            try:
                async with self._lock(call_id):
                    await self._catch_up(call_id)
            except NoSuchCall:
                self._timers.forget(call_id)
                self._outbox.forget(call_id)
            except Exception as error:
                trouble = logger.bind(call_id=call_id).opt(exception=error)
                trouble.error("An event of a call could not be stored; retrying")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)
                continue
            break
        if isinstance(event, DialUnclear):
            self._dials.answered(call_id)

    async def state(self, call_id: str) -> CallState:
        """The state of a call. Raises: NoSuchCall."""
        return CallState.from_json((await self.record(call_id)).life)

    async def ended(self, call_id: str, timeout: float) -> Call | None:
        """Wait for the end of a call; None when it still goes on after `timeout` seconds.

        Raises: NoSuchCall.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        with self._ends.waiting(call_id) as end:
            while not (call := await self._call_log.get(call_id)).status.is_terminal:
                if (left := deadline - loop.time()) <= 0:
                    return None
                # Another instance may be the one that learns of it.
                await asyncio.wait({end}, timeout=min(left, _LOOK_SECS))
                if end.cancelled():
                    end.result()
        return call

    # --- the process's lifespan

    async def resume(self) -> None:
        """Resume every call that had not ended when the last process stopped.

        Its timers continue, its streams count as ended, Twilio is asked for its status, and a call
        that may still ring is prewarmed again.
        """
        states = {
            call.id: CallState.from_json(call.life) for call in await self._call_log.unfinished()
        }
        ours = {key: state for key, state in states.items() if state.driver is Driver.LOCAL}
        theirs = await self._others(list(ours))
        for call_id, known in ours.items():
            with logger.contextualize(call_id=call_id):
                try:
                    await self._take_up(call_id, known, is_elsewhere=call_id in theirs)
                except Exception as error:
                    logger.opt(exception=error).error("A call could not be resumed")
        self._sweeping = asyncio.create_task(self._keep_sweeping(), name="sweep")

    async def sweep(self) -> int:
        """Take up calls that are open in the record, and that nothing has looked after for long.

        Another process may have died with them, or have been frozen. Returns how many there were.
        """
        overdue, found = self.now() - _OVERDUE_SECS, dict[str, CallState]()
        for call in await self._call_log.unfinished():
            state = CallState.from_json(call.life)
            due = min(state.deadlines.values(), default=state.placed_at or 0.0)
            if state.driver is Driver.LOCAL and due < overdue:
                found[call.id] = state
        theirs = await self._others(list(found))
        for call_id, known in found.items():
            logger.bind(call_id=call_id).warning("A call that lived nowhere was taken up")
            await self._take_up(call_id, known, is_elsewhere=call_id in theirs)
        return len(found)

    def let_go(self, call_id: str) -> None:
        """A workflow has taken the call over: cancel its timers here."""
        self._timers.forget(call_id)

    def prepare(self, call_id: str) -> None:
        """Start the call's pipeline before the phone is answered, in the background."""
        self._media.order(call_id, Warm())

    def release(self, call_id: str) -> None:
        """Stop what `prepare` started, in the background."""
        self._media.order(call_id, Release())

    async def close(self, timeout: float = 5.0) -> None:
        """Stop; requests to Twilio under way may finish within `timeout` seconds.

        The calls themselves continue, at Twilio and in the record.
        """
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._timers.close()
        await self._phone.close(timeout)
        await self._media.close(timeout)
        self._ends.close()

    # --- below

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY_SECS)
            with logger.catch(message="Calls that live nowhere could not be looked for"):
                await self.sweep()

    def _lock(self, call_id: str) -> asyncio.Lock:
        return self._locks.setdefault(call_id, asyncio.Lock())

    async def _catch_up(self, call_id: str) -> None:
        """Apply the events that could not be stored before; drop those that never can be."""
        # Events that come meanwhile are applied by whoever brings them.
        for event in self._outbox.waiting(call_id):
            try:
                await self._decide(call_id, event)
            except NoSuchCall:
                raise
            except Exception as error:
                if is_transient(error):
                    raise
                lost = logger.bind(call_id=call_id).opt(exception=error)
                lost.error("An event of a call was lost: it could not be stored")
            self._outbox.told(call_id)

    async def _decide(self, call_id: str, *told: Event) -> CallState:
        def judge(call: Call) -> LifeDecision:
            before = CallState.from_json(call.life)
            if before.driver is not Driver.LOCAL and not before.status.is_terminal:
                # A workflow has taken the call over.
                return LifeDecision(before, before, (), ())
            self._follow(call, before)
            decision = decide_all(call_id, before, told)
            self._outbox.decided(call_id, decision)
            return decision

        try:
            call, decision = await self._call_log.change_life(call_id, judge)
        except (DatabaseUnavailable, asyncio.CancelledError):
            # It may be stored all the same, and no other event may come for a long time.
            self._timers.arm(call_id, Timer.RECONCILE, self.now() + self._patience.reconcile_secs)
            raise
        self._known.note(call)
        self._follow(call, decision.state)
        self._await_again(call_id, decision.state, told)
        if decision.before.status.is_terminal:
            self._ended_elsewhere(call_id, decision.state, told)
        return decision.state

    def _follow(self, call: Call, state: CallState) -> None:
        """Carry out the decision that the record now shows as stored, once."""
        decision = self._outbox.confirm(call.id, state)
        if decision is None:
            return
        self._carry_out(call.id, decision.commands)
        if state.status.is_terminal and not decision.before.status.is_terminal:
            self._ended_here[call.id] = None
            while len(self._ended_here) > _REMEMBERED_ENDS:
                del self._ended_here[next(iter(self._ended_here))]
            self._ended(call)
        if state.twilio_sid or state.status.is_terminal:
            self._dials.answered(call.id)

    def _ended_elsewhere(self, call_id: str, state: CallState, told: Sequence[Event]) -> None:
        """Let go of a call of which another process was told the end: its timers are still here."""
        if call_id in self._ended_here:
            return
        fired = any(isinstance(event, TimerFired) for event in told)
        if fired or self._timers.armed(call_id):
            self._timers.forget(call_id)
            self._media.order(call_id, EndMedia(state.end_reason or EndReason.SYSTEM))

    def _await_again(self, call_id: str, state: CallState, told: Sequence[Event]) -> None:
        """Set a timer again that fired early to check what the database has stored."""
        for event in told:
            if isinstance(event, TimerFired):
                due = state.deadlines.get(event.timer)
                if due is not None and due > event.at:
                    self._timers.arm(call_id, event.timer, due)

    def _give_up_on(self, call_id: str, state: CallState) -> None:
        """Clean up a call that may have been stored although `place` failed."""
        if state.twilio_sid is None:
            self._phone.report(call_id, DialFailed(self.now(), _NOT_DIALLED))
        else:
            self._phone.order(call_id, [LookUp(state.twilio_sid)])

    def _carry_out(self, call_id: str, commands: tuple[Command, ...]) -> None:
        """Start the commands, in this order, without waiting for them."""
        phone: list[Dial | HangUp | LookUp] = []
        for command in commands:
            match command:
                case SetTimer(timer, at):
                    self._timers.arm(call_id, timer, at)
                case CancelTimer(timer):
                    self._timers.cancel(call_id, timer)
                case Warm() | Release() | EndMedia():
                    self._media.order(call_id, command)
                case Dial():
                    self._dials.begin(call_id)
                    phone.append(command)
                case HangUp() | LookUp():
                    phone.append(command)
                case WriteOutcome():
                    logger.bind(call_id=call_id).debug("The outcome of a call has changed")
        if phone:
            self._phone.order(call_id, phone)

    def _ended(self, call: Call) -> None:
        told = logger.bind(call_id=call.id, status=call.status, end_reason=call.end_reason)
        if call.error:
            told.bind(error=call.error).warning("A call has ended, and not as it should")
        else:
            told.info("A call has ended")
        self._ends.ended(call.id)
        if self._on_end is not None:
            with logger.catch(message="The end of a call could not be reported"):
                self._on_end(call)

    async def _others(self, call_ids: Sequence[str]) -> set[str]:
        """Those of the calls that other instances have."""
        if self._elsewhere is None or not call_ids:
            return set()
        return await self._elsewhere(call_ids)

    async def _take_up(self, call_id: str, known: CallState, *, is_elsewhere: bool) -> None:
        """`known`: its state before the other instances were asked."""
        state = await self.state(call_id)
        for timer, at in state.deadlines.items():
            self._timers.arm(call_id, timer, at)
        # A stream that has begun since then is carried, too.
        if is_elsewhere or state.stream_sid not in (None, known.stream_sid):
            return
        now = self.now()
        if state.stream_sid:
            # The stream did not fail, so it must not count as a short one.
            carried = state.patience.short_stream_secs
            ended = StreamEnded(now, state.stream_sid, carried)
            state = await self.tell(call_id, ended, InstanceStopped(now))
        if state.deadlines.get(Timer.RING, now) > now:
            self._media.order(call_id, Warm())
        if state.twilio_sid is None and state.dialled:
            state = await self.tell(call_id, DialUnclear(now))
        self._phone.order(call_id, [LookUp(state.twilio_sid)])
