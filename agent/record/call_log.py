"""Stores calls, turns, events and token counts; the only file with SQL.

Each method is one transaction. It raises `DatabaseUnavailable`, and stores nothing, when the
database is busy, full or cannot be reached. A write completes even when its caller is cancelled.
The lifecycle, the API and the recorder share one `CallLog`; processes may share a database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Delete, and_, delete, false, func, insert, inspect, or_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.latency import LATENCY_EVENTS, Latency
from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import Driver
from agent.lifecycle.told import Told
from agent.record.database import DatabaseUnavailable as DatabaseUnavailable
from agent.record.database import open_engine as open_engine
from agent.record.decision import LifeDecision
from agent.record.models import (
    Call,
    CallEvent,
    CallStatus,
    Direction,
    Placement,
    TokenUsage,
    Turn,
    UntoldEvent,
    WrittenRows,
    now_utc,
)
from agent.record.page_cursor import BadCursor as BadCursor
from agent.record.page_cursor import cursor_after, read_cursor
from agent.record.transactions import Transactions, shielded

LIVE = (CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS)

DAY = timedelta(hours=24)
# What a process that was killed has left on disk is written by the next one, long before this.
_COUNTS_KEPT_FOR = timedelta(days=90)

# Advisory lock for counting calls before one is created: any number that nothing else uses.
_POSTGRES_COUNT_LOCK = 7_265_190_114

# Rows that a running call writes.
Row = Turn | CallEvent | TokenUsage


@dataclass(frozen=True, slots=True)
class Progress:
    """The first `count` rows of `writer`, a process, are written with this batch."""

    writer: str
    count: int


class NoSuchCall(LookupError):
    """There is no call with this id, or it was deleted."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"there is no call {call_id!r}")
        self.call_id = call_id


class StaleRevision(Exception):
    """Another process has changed the call meanwhile."""


class CallIsLive(Exception):
    """The call has not ended, so its record cannot be deleted."""


class IdempotencyConflict(Exception):
    """The idempotency key was used before, with another request."""


class DailyLimitReached(Exception):
    """The limit of outbound calls in 24 hours is reached."""


@dataclass(frozen=True, slots=True)
class CallPage:
    """A page of calls, newest first; `next_cursor` continues after them, None: the last page."""

    calls: list[Call]
    next_cursor: str | None


class CallLog(Transactions):
    """The calls in a database.

    `daily_limit` bounds the outbound calls of any 24 hours, over all processes that share the
    database. Calls whose record was erased still count.
    """

    def __init__(self, engine: AsyncEngine, *, daily_limit: int | None = None) -> None:
        super().__init__(engine)
        self._daily_limit = daily_limit

    # --- the call and its lifecycle state

    @shielded
    async def create(self, call: Call, events: Sequence[CallEvent] = ()) -> Call:
        """Store a new call with its first events; return it as stored.

        When the `idempotency_key` exists already, returns the call that has it (another id).

        Raises: IdempotencyConflict when that call has another `request_fingerprint`;
        DailyLimitReached.
        """
        call_id, key, fingerprint = call.id, call.idempotency_key, call.request_fingerprint
        try:
            async with self._writing() as session:
                known = await self._by_key(session, key)
                if known is None:
                    if call.direction is Direction.OUTBOUND:
                        await self._count_placement(session, call.created_at)
                    session.add(call)
                    # Foreign keys: the call's row comes before its events.
                    await session.flush()
                    await _insert(session, events)
                    await session.refresh(call)
                    return call
        except IntegrityError:
            # Two requests at once: both looked before either wrote.
            async with self._reading() as session:
                known = await self._by_key(session, key)
            if known is None or known.id == call_id:
                raise
        if known.request_fingerprint != fingerprint:
            raise IdempotencyConflict("this idempotency key was used before, with another request")
        return known

    async def get(self, call_id: str) -> Call:
        """The call. Raises: NoSuchCall."""
        async with self._reading() as session:
            return await self._call(session, call_id)

    async def find_by_sid(self, twilio_sid: str) -> Call | None:
        """The call that Twilio knows by this SID."""
        async with self._reading() as session:
            found = await session.exec(select(Call).where(col(Call.twilio_sid) == twilio_sid))
            return found.first()

    async def find_by_idempotency_key(self, key: str) -> Call | None:
        """The call that a request with this key created."""
        async with self._reading() as session:
            return await self._by_key(session, key)

    @shielded
    async def change_life(
        self, call_id: str, decide: Callable[[Call], LifeDecision]
    ) -> tuple[Call, LifeDecision]:
        """Read the call, let `decide` compute its next state, and store that with its events.

        The row is locked from the read to the commit, so that decisions never use a stale state.
        `decide` must not block, nor change the record; without events, its decision changes
        nothing. Returns the record as stored.

        Raises: NoSuchCall.
        """
        async with self._writing() as session:
            call = await self._call(session, call_id, lock=True)
            decision = decide(call)
            if decision.events:
                await _keep_life(session, call, decision.state, decision.events)
        return call, decision

    @shielded
    async def save_life(
        self,
        call_id: str,
        state: CallState,
        events: Sequence[CallEvent] = (),
        known: int | None = None,
    ) -> Call:
        """Store a lifecycle state that was computed elsewhere, with the events that led to it.

        `known` is the revision of the record that the state was computed from; None: any.
        Returns the record as stored.

        Raises: NoSuchCall; StaleRevision when the record has another revision by now.
        """
        async with self._writing() as session:
            call = await self._call(session, call_id, lock=True)
            if known not in (None, call.revision):
                raise StaleRevision(call_id)
            await _keep_life(session, call, state, events)
        return call

    @shielded
    async def take_over(self, call_id: str) -> Call | None:
        """Mark a call as one that a workflow runs, and return it; None: erased or ended.

        Until then, `withdraw` can take a placed call back.
        """
        async with self._writing() as session:
            call = await session.get(Call, call_id, with_for_update=True)
            if call is None or call.status.is_terminal:
                return None
            state = CallState.from_json(call.life)
            if not call.revision or state.driver is not Driver.TEMPORAL:
                taken = replace(state, driver=Driver.TEMPORAL)
                await _keep_life(session, call, taken, ())
        return call

    @shielded
    async def withdraw(self, call_id: str) -> bool:
        """Remove a call that was placed, unless a workflow has taken it over; whether it is gone.

        It does not count for the daily limit then, and its idempotency key is free again.
        """
        async with self._writing() as session:
            call = await session.get(Call, call_id, with_for_update=True)
            if call is None:
                return True
            if call.revision:
                return False
            for statement in _deletions(call_id):
                await session.exec(statement)
            counted = select(Placement).where(col(Placement.at) == call.created_at)
            placement = (await session.exec(counted.limit(1))).first()
            if placement is not None:
                await session.delete(placement)
        return True

    @shielded
    async def store_life(
        self,
        call_id: str,
        state: CallState,
        events: Sequence[CallEvent],
        *,
        revision: int,
        after: int,
    ) -> None:
        """Store what a workflow has decided since the revision `after`.

        Events of later revisions are replaced: they are the same, decided by a worker that died.
        Nothing is stored when the record has a newer revision, or the call was erased.
        """
        async with self._writing() as session:
            call = await session.get(Call, call_id, with_for_update=True)
            if call is None or call.revision > revision:
                return
            replaced = delete(CallEvent).where(col(CallEvent.call_id) == call_id)
            await session.exec(replaced.where(col(CallEvent.revision) > after))
            call.revision = revision - 1
            await _keep_life(session, call, state, events)

    # --- events that wait until a workflow can be told

    @shielded
    async def keep_untold(self, call_id: str, told: Sequence[Told]) -> None:
        """Keep events of a call, in order. Raises: NoSuchCall."""
        async with self._writing() as session:
            await self._call(session, call_id)
            for one in told:
                session.add(UntoldEvent(call_id=call_id, told_id=one.id, event=one.values))
                await session.flush()

    async def untold(self, limit: int = 500) -> list[UntoldEvent]:
        """The events that wait, oldest first."""
        async with self._reading() as session:
            waiting = select(UntoldEvent).order_by(col(UntoldEvent.id))
            return list(await session.exec(waiting.limit(limit)))

    @shielded
    async def forget_untold(self, ids: Sequence[int]) -> None:
        """Remove events that were told."""
        async with self._writing() as session:
            await session.exec(delete(UntoldEvent).where(col(UntoldEvent.id).in_(ids)))

    async def unfinished(self) -> list[Call]:
        """Every call that has not ended, oldest first, for a restart to resume."""
        async with self._reading() as session:
            live = select(Call).where(col(Call.status).in_(LIVE))
            found = await session.exec(live.order_by(col(Call.created_at), col(Call.id)))
            return list(found)

    @shielded
    async def delete(self, call_id: str) -> None:
        """Delete an ended call with its turns, events and token counts.

        Raises: NoSuchCall, CallIsLive.
        """
        async with self._writing() as session:
            call = await self._call(session, call_id)
            if not call.status.is_terminal:
                raise CallIsLive(f"call {call_id!r} has not ended")
            for statement in _deletions(call_id):
                await session.exec(statement)

    # --- what was said and what happened

    @shielded
    async def write(self, rows: Sequence[Row], progress: Progress | None = None) -> int:
        """Insert turns, events and token counts of any calls, in this order, and note `progress`.

        Returns how many were skipped because their call was deleted.
        """
        async with self._writing() as session:
            asked = {row.call_id for row in rows}
            there = {*await session.exec(select(Call.id).where(col(Call.id).in_(asked)))}
            kept = [row for row in rows if row.call_id in there]
            await _insert(session, kept)
            if progress is not None:
                await session.merge(WrittenRows(writer=progress.writer, count=progress.count))
        return len(rows) - len(kept)

    async def written_by(self, writer: str) -> int:
        """How many rows this process has written, as it noted; 0 when it noted nothing."""
        async with self._reading() as session:
            noted = await session.get(WrittenRows, writer)
            return 0 if noted is None else noted.count

    @shielded
    async def forget_writer(self, writer: str) -> None:
        """All rows of this process are written, and none is on disk; old notes go, too."""
        old = col(WrittenRows.at) < now_utc() - _COUNTS_KEPT_FOR
        async with self._writing() as session:
            await session.exec(
                delete(WrittenRows).where(or_(col(WrittenRows.writer) == writer, old))
            )

    async def transcript(self, call_id: str) -> list[Turn]:
        """The call's turns, in the order spoken. Raises: NoSuchCall."""
        async with self._reading() as session:
            await self._call(session, call_id)
            turns = select(Turn).where(col(Turn.call_id) == call_id)
            return list(await session.exec(turns.order_by(col(Turn.start_ms), col(Turn.id))))

    async def events(self, call_id: str, after: int = 0, limit: int = 1000) -> list[CallEvent]:
        """At most `limit` events after the one with id `after`, oldest first.

        Raises: NoSuchCall.
        """
        async with self._reading() as session:
            await self._call(session, call_id)
            events = select(CallEvent).where(col(CallEvent.call_id) == call_id)
            later = events.where(col(CallEvent.id) > after).order_by(col(CallEvent.id))
            return list(await session.exec(later.limit(limit)))

    async def latency(self, call_id: str) -> Latency:
        """The call's latencies, as far as recorded. Raises: NoSuchCall."""
        async with self._reading() as session:
            await self._call(session, call_id)
            events = select(CallEvent.kind, CallEvent.detail).where(
                col(CallEvent.call_id) == call_id
            )
            events = events.where(col(CallEvent.kind).in_(LATENCY_EVENTS))
            return Latency.from_events(await session.exec(events.order_by(col(CallEvent.id))))

    async def usage(self, call_id: str) -> list[TokenUsage]:
        """The call's token counts, oldest first. Raises: NoSuchCall."""
        async with self._reading() as session:
            await self._call(session, call_id)
            usage = select(TokenUsage).where(col(TokenUsage.call_id) == call_id)
            return list(await session.exec(usage.order_by(col(TokenUsage.id))))

    # --- many calls

    async def list(
        self,
        *,
        status: CallStatus | None = None,
        direction: Direction | None = None,
        phone_number: str | None = None,
        our_number: str | None = None,
        id_prefix: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> CallPage:
        """Calls that match every filter, newest first; created from `since` to before `until`.

        Raises: BadCursor.
        """
        wanted = select(Call)
        if status is not None:
            wanted = wanted.where(col(Call.status) == status)
        if direction is not None:
            wanted = wanted.where(col(Call.direction) == direction)
        if phone_number is not None:
            wanted = wanted.where(col(Call.phone_number) == phone_number)
        if our_number is not None:
            wanted = wanted.where(col(Call.our_number) == our_number)
        if id_prefix is not None:
            wanted = wanted.where(col(Call.id).startswith(id_prefix, autoescape=True))
        if since is not None:
            wanted = wanted.where(col(Call.created_at) >= since)
        if until is not None:
            wanted = wanted.where(col(Call.created_at) < until)
        if cursor is not None:
            at, call_id = read_cursor(cursor)
            created = col(Call.created_at)
            wanted = wanted.where(or_(created < at, and_(created == at, col(Call.id) < call_id)))
        newest_first = wanted.order_by(col(Call.created_at).desc(), col(Call.id).desc())
        async with self._reading() as session:
            found = [*await session.exec(newest_first.limit(limit + 1))]
        calls = found[:limit]
        more = len(found) > limit
        return CallPage(calls, cursor_after(calls[-1].created_at, calls[-1].id) if more else None)

    async def ping(self) -> None:
        """Raise when the database cannot be reached or was not migrated."""
        async with self._reading() as session:
            await session.exec(select(Call.id).where(false()))

    # --- below

    async def _count_placement(self, session: AsyncSession, at: datetime) -> None:
        """Count a placed call. Raises: DailyLimitReached."""
        if self._daily_limit is not None:
            if self._writer.dialect.name == "postgresql":
                # Block others from counting until this transaction ends. SQLite has one writer
                # at a time anyway.
                await session.exec(select(func.pg_advisory_xact_lock(_POSTGRES_COUNT_LOCK)))
            placed = select(func.count()).select_from(Placement)
            count = await session.exec(placed.where(col(Placement.at) >= at - DAY))
            if count.one() >= self._daily_limit:
                raise DailyLimitReached(f"{self._daily_limit} calls were placed in 24 hours")
        await session.exec(delete(Placement).where(col(Placement.at) < at - DAY))
        session.add(Placement(at=at))

    @staticmethod
    async def _call(session: AsyncSession, call_id: str, *, lock: bool = False) -> Call:
        call = await session.get(Call, call_id, with_for_update=lock or None)
        if call is None:
            raise NoSuchCall(call_id)
        return call

    @staticmethod
    async def _by_key(session: AsyncSession, key: str | None) -> Call | None:
        if key is None:
            return None
        found = await session.exec(select(Call).where(col(Call.idempotency_key) == key))
        return found.first()


def _deletions(call_id: str) -> list[Delete]:
    return [
        delete(Turn).where(col(Turn.call_id) == call_id),
        delete(CallEvent).where(col(CallEvent.call_id) == call_id),
        delete(TokenUsage).where(col(TokenUsage.call_id) == call_id),
        delete(UntoldEvent).where(col(UntoldEvent.call_id) == call_id),
        delete(Call).where(col(Call.id) == call_id),
    ]


async def _keep_life(
    session: AsyncSession, call: Call, state: CallState, events: Sequence[CallEvent]
) -> None:
    call.set_life(state)
    call.revision += 1
    await session.flush()
    await _insert(session, events)
    # Read back the text as it was cleaned.
    await session.refresh(call)


async def _insert(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Insert rows, grouped by table in the order of their first rows.

    The rows belong to no session, so that they can be inserted again after a failure.
    """
    for model in dict.fromkeys(type(row) for row in rows):
        values = [row.model_dump(exclude={"id"}) for row in rows if type(row) is model]
        # Into the table, not the model: no object of the ORM is kept in step with these rows.
        await session.exec(insert(inspect(model).local_table), params=values)
