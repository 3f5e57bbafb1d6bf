"""Drives the life of every call in this process, persisted so that a restart goes on.

    tell(events) ─▶ [one at a time per call: know · decide · save] ─▶ state
                                                    │
                       commands, beside it: timers, media desk, telephone ─▶ tell(what came of it)

A telephone or a desk that is slow or fails never holds up `tell`, nor another call.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from loguru import logger

from agent.call_log import CallLog, LifeWentOn, NoSuchCall
from agent.calls import Call, NewEvent
from agent.clock import Clock, loop_clock, moment
from agent.database import DatabaseAway, is_passing
from agent.life_columns import life_columns, take_over
from agent.life_commands import MediaOrders, PhoneOrders, Timers
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
    as_record,
)
from agent.life_state import CallState, Patience, new_call
from agent.lifecycle import decide
from agent.ports import MediaDesk, Telephone
from agent.words import Direction

_NOT_DIALLED = "The database could not be used when the call was placed; it was not dialled."
_FIRST_PAUSE_SECS = 0.2
_LONGEST_PAUSE_SECS = 10.0
# Of a call that another process saw to its end, this one may never hear again.
_KEPT_AT_MOST = 2000


@dataclass(frozen=True, slots=True)
class _Unclear:
    """A decision that the database may have kept, though it did not say so."""

    before: CallState
    state: CallState
    commands: tuple[Command, ...]


@dataclass(slots=True)
class _Kept:
    """The record of a live call as the database has it, as far as this process knows."""

    call: Call
    state: CallState


class LocalLife:
    """`ports.CallLife` in one process. It alone writes the status of the calls in its database.

    Records of live calls stay in memory, so that nothing is read when something happens; their
    revision tells when another process that has the same database wrote one.

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
        self._clock_given = clock
        self._on_end = on_end
        self._dial_wait_secs = dial_wait_secs
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # What happened while the database was away, in the order in which it came.
        self._untold: dict[str, deque[Event]] = {}
        self._unclear: dict[str, _Unclear] = {}
        self._kept: dict[str, _Kept] = {}
        self._dialling: dict[str, asyncio.Future[None]] = {}
        self._waiting_for_end: dict[str, set[asyncio.Future[None]]] = {}
        self._phone = PhoneOrders(telephone, call_log, self.record, self.tell_surely, self.now)
        self._media = MediaOrders(desk)
        self._timers = Timers(self._timer_fired, self.now)

    def now(self) -> float:
        """Seconds since the epoch, as the loop tells it."""
        if self._clock_given is None:
            self._clock_given = loop_clock()
        return self._clock_given()

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
        begun = {"direction": direction, "created_at": moment(event.at)}
        take_over(call, begun | life_columns(state))
        async with self._lock(call_id):
            try:
                kept = await self._call_log.create(call, [self._happened(call_id, event)])
            except DatabaseAway:
                self._give_up_on(call_id, state)
                raise
            if kept.id == call_id:
                self._keep(call_id, _Kept(call, state))
                self._carry_out(call_id, commands)
            elif (known := self._kept.get(kept.id)) and known.call.revision < kept.revision:
                del self._kept[kept.id]  # another process wrote it since
        await self._until_dialled(kept.id)
        return await self.record(kept.id)

    async def tell(self, call_id: str, *events: Event) -> CallState:
        """Say what happened to a call, all at once; return its state after that.

        Raises: NoSuchCall.
        """
        async with self._lock(call_id):
            await self._catch_up(call_id)
            return await self._decide(call_id, *events)

    async def record(self, call_id: str) -> Call:
        """The record of a call, as this process knows it; what it holds goes on with the call.

        Raises: NoSuchCall.
        """
        kept = self._kept.get(call_id)
        return await self._call_log.get(call_id) if kept is None else kept.call

    async def tell_surely(self, call_id: str, event: Event) -> None:
        """Tell what nobody else would tell again, however long the database is away.

        Whatever is told of the call in the meantime comes after it.
        """
        self._untold.setdefault(call_id, deque()).append(event)
        pause = _FIRST_PAUSE_SECS
        while True:
            try:
                async with self._lock(call_id):
                    await self._catch_up(call_id)
            except NoSuchCall:
                self._timers.forget(call_id)
                self._untold.pop(call_id, None)
            except Exception as error:
                trouble = logger.bind(call_id=call_id).opt(exception=error)
                trouble.error("What happened to a call could not be kept yet")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)
                continue
            break
        if isinstance(event, DialUnclear):
            self._dial_is_answered(call_id)

    async def state(self, call_id: str) -> CallState:
        """The state of a call. Raises: NoSuchCall."""
        call = await self._call_log.get(call_id)
        return CallState.from_json(call.life)

    async def ended(self, call_id: str, timeout: float) -> Call | None:
        """Wait for the end of a call; None when it still goes on after `timeout` seconds.

        Raises: NoSuchCall.
        """
        end = asyncio.get_running_loop().create_future()
        waiting = self._waiting_for_end.setdefault(call_id, set())
        waiting.add(end)
        try:
            if not (await self._call_log.get(call_id)).status.is_terminal:
                async with asyncio.timeout(timeout):
                    await end
        except TimeoutError:
            return None
        finally:
            waiting.discard(end)
            if not waiting and self._waiting_for_end.get(call_id) is waiting:
                del self._waiting_for_end[call_id]
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
        for waiting in list(self._waiting_for_end.values()):
            for end in waiting:
                end.cancel()

    # --- below

    def _lock(self, call_id: str) -> asyncio.Lock:
        lock = self._locks.get(call_id)
        if lock is None:
            lock = self._locks[call_id] = asyncio.Lock()
        return lock

    async def _catch_up(self, call_id: str) -> None:
        """Decide what could not be kept before; what never can be is left out."""
        untold = self._untold.get(call_id)
        while untold:
            try:
                await self._decide(call_id, untold[0])
            except NoSuchCall:
                raise
            except Exception as error:
                if is_passing(error):
                    raise
                lost = logger.bind(call_id=call_id).opt(exception=error)
                lost.error("What happened to a call could not be kept")
            untold.popleft()
        self._untold.pop(call_id, None)

    async def _decide(self, call_id: str, *told: Event) -> CallState:
        while True:
            kept = await self._known(call_id)
            before = kept.state
            state, commands, events = self._judge(call_id, before, told)
            if not events:
                return state
            try:
                columns = await self._call_log.save_life(
                    call_id, state, events, kept.call.revision, before
                )
            except LifeWentOn:
                self._kept.pop(call_id, None)
                continue
            except DatabaseAway:
                self._kept.pop(call_id, None)
                self._unclear[call_id] = _Unclear(before, state, commands)
                # Nobody may tell of this call again for long.
                soon = self.now() + self._patience.reconcile_secs
                self._timers.arm(call_id, Timer.RECONCILE, soon)
                raise
            except BaseException:
                self._kept.pop(call_id, None)
                raise
            kept.state = state
            take_over(kept.call, columns)
            if state.status.is_terminal:
                self._kept.pop(call_id, None)
            self._follow(kept.call, before, state, commands)
            return state

    async def _known(self, call_id: str) -> _Kept:
        """The record, and what follows from a decision that was kept after all."""
        kept = self._kept.get(call_id)
        if kept is None:
            call = await self._call_log.get(call_id)
            kept = _Kept(call, CallState.from_json(call.life))
            if not call.status.is_terminal:
                self._keep(call_id, kept)
        unclear = self._unclear.pop(call_id, None)
        if unclear is not None and unclear.state == kept.state:
            self._follow(kept.call, unclear.before, kept.state, unclear.commands)
        return kept

    def _keep(self, call_id: str, kept: _Kept) -> None:
        self._kept[call_id] = kept
        while len(self._kept) > _KEPT_AT_MOST:
            del self._kept[next(iter(self._kept))]

    def _judge(
        self, call_id: str, before: CallState, told: Sequence[Event]
    ) -> tuple[CallState, tuple[Command, ...], list[NewEvent]]:
        """What becomes of a call by these events, what is to be done, and what to keep of it."""
        state = before
        commands: list[Command] = []
        events: list[NewEvent] = []
        for event in told:
            was = state
            state, more = decide(was, event)
            if state == was and isinstance(event, TimerFired):
                self._await_again(call_id, state, event)
                continue
            commands += more
            events.append(self._happened(call_id, event))
            if (state.status, state.end_reason) != (was.status, was.end_reason):
                reason = state.end_reason.value if state.end_reason else None
                detail = {"status": state.status.value, "end_reason": reason}
                at = moment(event.at)
                events.append(NewEvent(call_id=call_id, at=at, kind="life.status", detail=detail))
        return state, tuple(commands), events

    def _follow(
        self, call: Call, before: CallState, state: CallState, commands: tuple[Command, ...]
    ) -> None:
        """Do what follows from a decision that was kept."""
        self._carry_out(call.id, commands)
        if state.status.is_terminal and not before.status.is_terminal:
            self._ended(call)
        if state.twilio_sid or state.status.is_terminal:
            self._dial_is_answered(call.id)

    def _await_again(self, call_id: str, state: CallState, event: TimerFired) -> None:
        """A timer came before its time: it was armed to see what the database has kept."""
        due = state.deadlines.get(event.timer)
        if due is not None and due > event.at:
            self._timers.arm(call_id, event.timer, due)

    def _give_up_on(self, call_id: str, state: CallState) -> None:
        """A call that may be in the record, though whoever placed it was told otherwise."""
        if state.twilio_sid is None:
            self._phone.report(call_id, DialFailed(self.now(), _NOT_DIALLED))
        else:
            self._phone.order(call_id, [LookUp(state.twilio_sid)])

    def _happened(self, call_id: str, event: Event) -> NewEvent:
        kind, detail = as_record(event)
        return NewEvent(call_id=call_id, at=moment(event.at), kind=kind, detail=detail)

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
                    answered = asyncio.get_running_loop().create_future()
                    self._dialling[call_id] = answered
                    phone.append(command)
                case HangUp() | LookUp():
                    phone.append(command)
                case WriteOutcome():
                    logger.bind(call_id=call_id).debug("The outcome of a call has changed")
        if phone:
            self._phone.order(call_id, phone)

    def _ended(self, call: Call) -> None:
        logger.bind(call_id=call.id, status=call.status, end_reason=call.end_reason).info(
            "A call has ended"
        )
        for end in self._waiting_for_end.pop(call.id, set()):
            if not end.done():
                end.set_result(None)
        if self._on_end is not None:
            try:
                self._on_end(call)
            except Exception as error:
                logger.opt(exception=error).error("The end of a call was not counted")

    async def _until_dialled(self, call_id: str) -> None:
        answered = self._dialling.get(call_id)
        if answered is None:
            return
        try:
            async with asyncio.timeout(self._dial_wait_secs):
                await asyncio.shield(answered)
        except TimeoutError:
            pass

    def _dial_is_answered(self, call_id: str) -> None:
        answered = self._dialling.pop(call_id, None)
        if answered is not None and not answered.done():
            answered.set_result(None)

    def _timer_fired(self, call_id: str, event: TimerFired) -> None:
        self._phone.report(call_id, event)

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
