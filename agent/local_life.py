"""Drives the life of every call in this process, persisted so that a restart goes on.

    tell(events) ─▶ [one transaction: read and lock · decide · save] ─▶ state
                                                    │
                       commands, beside it: timers, media desk, telephone ─▶ tell(what came of it)

A telephone or a desk that is slow or fails never holds up `tell`, nor another call.
"""

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from loguru import logger

from agent.call_log import CallLog, NoSuchCall
from agent.calls import Call
from agent.clock import Clock, loop_clock, moment
from agent.database import DatabaseAway, is_passing
from agent.dials import DialsUnderWay
from agent.end_waiters import EndWaiters
from agent.life_commands import MediaOrders, PhoneOrders, Timers
from agent.life_decision import LifeDecision, decide_all, happened
from agent.life_events import (
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
from agent.life_outbox import LifeOutbox
from agent.life_state import CallState, Patience, new_call
from agent.lifecycle import decide
from agent.ports import MediaDesk, Telephone
from agent.words import Direction

_NOT_DIALLED = "The database could not be used when the call was placed; it was not dialled."
_FIRST_PAUSE_SECS = 0.2
_LONGEST_PAUSE_SECS = 10.0


class LocalLife:
    """`ports.CallLife` in one process; several may share a database.

    `on_end` is called once for each call that ends, with its final record; it must not block.
    """

    def __init__(
        self,
        call_log: CallLog,
        telephone: Telephone,
        desk: MediaDesk,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        on_end: Callable[[Call], None] | None = None,
        dial_wait_secs: float = 15.0,
    ) -> None:
        self._call_log = call_log
        self._patience = patience or Patience()
        # Seconds since the epoch, as the running loop tells it.
        self.now: Clock = clock or loop_clock()
        self._on_end = on_end
        self._dial_wait_secs = dial_wait_secs
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._outbox = LifeOutbox()
        self._dials = DialsUnderWay()
        self._ends = EndWaiters()
        self._phone = PhoneOrders(telephone, call_log, self.tell_surely, self.now)
        self._media = MediaOrders(desk)
        self._timers = Timers(self._phone.report, self.now)

    # --- ports.CallLife

    async def place(self, call: Call, event: Placed) -> Call:
        """Open the record, and dial (outbound); return the call as it is after Twilio's answer.

        An inbound call is opened once for its SID, however often Twilio tells of it: unless it
        brings an idempotency key of its own.

        Raises: IdempotencyConflict.
        """
        call_id = call.id
        if event.inbound and event.twilio_sid and call.idempotency_key is None:
            call.idempotency_key = f"twilio:{event.twilio_sid}"
        direction = Direction.INBOUND if event.inbound else Direction.OUTBOUND
        state, commands = decide(new_call(direction, self._patience), event)
        call.direction, call.created_at = direction, moment(event.at)
        call.set_life(state)
        async with self._lock(call_id):
            try:
                kept = await self._call_log.create(call, [happened(call_id, event)])
            except (DatabaseAway, asyncio.CancelledError):
                self._give_up_on(call_id, state)
                raise
            if kept.id == call_id:
                self._carry_out(call_id, commands)
        await self._dials.until_answered(kept.id, self._dial_wait_secs)
        return await self.record(kept.id)

    async def tell(self, call_id: str, *events: Event) -> CallState:
        """Say what happened to a call, all at once; return its state after that.

        Raises: NoSuchCall.
        """
        async with self._lock(call_id):
            await self._catch_up(call_id)
            return await self._decide(call_id, *events)

    async def record(self, call_id: str) -> Call:
        """The record of a call. Raises: NoSuchCall."""
        return await self._call_log.get(call_id)

    async def tell_surely(self, call_id: str, event: Event) -> None:
        """Tell what nobody else would tell again, however long the database is away.

        Whatever is told of the call in the meantime comes after it.
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
                trouble.error("What happened to a call could not be kept yet")
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
        with self._ends.waiting(call_id) as end:
            if not (await self._call_log.get(call_id)).status.is_terminal:
                try:
                    async with asyncio.timeout(timeout):
                        await end
                except TimeoutError:
                    return None
        return await self._call_log.get(call_id)

    # --- the process's lifespan

    async def resume(self) -> None:
        """Take up every call that had not ended when the last process stopped.

        Its timers run on from where they were, its streams are gone, Twilio is asked about it, and
        one that may still ring is prepared anew.
        """
        for call in await self._call_log.unfinished():
            with logger.contextualize(call_id=call.id):
                try:
                    await self._take_up(call.id)
                except Exception as error:
                    logger.opt(exception=error).error("A call could not be resumed")

    async def close(self, timeout: float = 5.0) -> None:
        """Stop: what the telephone is asked right now may finish within `timeout` seconds.

        The calls themselves live on, at Twilio and in the record.
        """
        self._timers.close()
        await self._phone.close(timeout)
        await self._media.close(timeout)
        self._ends.close()

    # --- below

    def _lock(self, call_id: str) -> asyncio.Lock:
        return self._locks.setdefault(call_id, asyncio.Lock())

    async def _catch_up(self, call_id: str) -> None:
        """Decide what could not be kept before; what never can be is left out."""
        # Those that come meanwhile are told by whoever brings them.
        for event in self._outbox.waiting(call_id):
            try:
                await self._decide(call_id, event)
            except NoSuchCall:
                raise
            except Exception as error:
                if is_passing(error):
                    raise
                lost = logger.bind(call_id=call_id).opt(exception=error)
                lost.error("What happened to a call could not be kept")
            self._outbox.told(call_id)

    async def _decide(self, call_id: str, *told: Event) -> CallState:
        def judge(call: Call) -> LifeDecision:
            before = CallState.from_json(call.life)
            self._follow(call, before)
            decision = decide_all(call_id, before, told)
            self._outbox.decided(call_id, decision)
            return decision

        try:
            call, decision = await self._call_log.change_life(call_id, judge)
        except (DatabaseAway, asyncio.CancelledError):
            # It may be kept all the same, and nobody may tell of this call again for long.
            self._timers.arm(call_id, Timer.RECONCILE, self.now() + self._patience.reconcile_secs)
            raise
        self._follow(call, decision.state)
        self._await_again(call_id, decision.state, told)
        return decision.state

    def _follow(self, call: Call, state: CallState) -> None:
        """Do what follows from the decision that the record has by now, unless it was done."""
        decision = self._outbox.confirm(call.id, state)
        if decision is None:
            return
        self._carry_out(call.id, decision.commands)
        if state.status.is_terminal and not decision.before.status.is_terminal:
            self._ended(call)
        if state.twilio_sid or state.status.is_terminal:
            self._dials.answered(call.id)

    def _await_again(self, call_id: str, state: CallState, told: Sequence[Event]) -> None:
        """Set a timer again that came before its time, to see what the database has kept."""
        for event in told:
            if isinstance(event, TimerFired):
                due = state.deadlines.get(event.timer)
                if due is not None and due > event.at:
                    self._timers.arm(call_id, event.timer, due)

    def _give_up_on(self, call_id: str, state: CallState) -> None:
        """A call that may be in the record, though whoever placed it was told otherwise."""
        if state.twilio_sid is None:
            self._phone.report(call_id, DialFailed(self.now(), _NOT_DIALLED))
        else:
            self._phone.order(call_id, [LookUp(state.twilio_sid)])

    def _carry_out(self, call_id: str, commands: tuple[Command, ...]) -> None:
        """Start what was commanded, in this order; nothing here waits."""
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
        told.info("A call has ended")
        self._ends.ended(call.id)
        if self._on_end is not None:
            with logger.catch(message="The end of a call was not counted"):
                self._on_end(call)

    async def _take_up(self, call_id: str) -> None:
        state = await self.state(call_id)
        for timer, at in state.deadlines.items():
            self._timers.arm(call_id, timer, at)
        now = self.now()
        if state.stream_sid:
            # Not the stream's fault: it does not count as a short one.
            carried = state.patience.short_stream_secs
            ended = StreamEnded(now, state.stream_sid, carried)
            state = await self.tell(call_id, ended, InstanceStopped(now))
        if state.deadlines.get(Timer.RING, now) > now:
            self._media.order(call_id, Warm())
        if state.twilio_sid is None and state.dialled:
            state = await self.tell(call_id, DialUnclear(now))
        self._phone.order(call_id, [LookUp(state.twilio_sid)])
