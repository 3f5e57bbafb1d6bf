"""Stores calls, turns, events and token counts; the only file with SQL.

Each method is one transaction. It raises `DatabaseUnavailable`, and stores nothing, when the
database is busy, full or cannot be reached. A write completes even when its caller is cancelled.
The lifecycle, the API and the recorder share one `CallLog`; processes may share a database.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Delete, and_, delete, false, func, insert, or_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.latency import LATENCY_EVENTS, Latency
from agent.lifecycle.state import CallState
from agent.record.database import DatabaseUnavailable as DatabaseUnavailable
from agent.record.database import is_transient, writing_engine
from agent.record.database import open_engine as open_engine
from agent.record.decision import LifeDecision
from agent.record.models import Call, CallEvent, CallStatus, Direction, Placement, TokenUsage, Turn
from agent.record.page_cursor import BadCursor as BadCursor
from agent.record.page_cursor import cursor_after, read_cursor

LIVE = (CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS)

DAY = timedelta(hours=24)

# Advisory lock for counting calls before one is created: any number that nothing else uses.
_POSTGRES_COUNT_LOCK = 7_265_190_114

# A write that is older says nothing of the next one.
_PROBE_AFTER_SECS = 1.0

# Rows that a running call writes.
Row = Turn | CallEvent | TokenUsage

T = TypeVar("T")
P = ParamSpec("P")


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


def _shielded(
    write: Callable[Concatenate["CallLog", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["CallLog", P], Coroutine[Any, Any, T]]:
    """Run a method in a task of its own, so that it completes when its caller is cancelled.

    A statement in aiosqlite's thread cannot be cancelled, and an unclosed cursor would hold
    SQLite's lock.
    """

    @wraps(write)
    async def shielded(self: "CallLog", /, *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(write(self, *args, **kwargs))
        self.writes.add(task)
        task.add_done_callback(self.writes.discard)
        return await asyncio.shield(task)

    return shielded


class CallLog:
    """The calls in a database.

    `daily_limit` bounds the outbound calls of any 24 hours, over all processes that share the
    database. Calls whose record was erased still count.
    """

    def __init__(self, engine: AsyncEngine, *, daily_limit: int | None = None) -> None:
        self._reader = engine
        self._writer = writing_engine(engine)
        self._daily_limit = daily_limit
        # Writes under way; the event loop holds only weak references to tasks.
        self.writes: set[asyncio.Task[Any]] = set()
        # When a write last succeeded or failed, and why it failed.
        self._tried_at = -math.inf
        self._write_failure: DatabaseUnavailable | None = None
        self._probe: asyncio.Task[None] | None = None

    # --- the call and its lifecycle state

    @_shielded
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

    @_shielded
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

    @_shielded
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

    async def unfinished(self) -> list[Call]:
        """Every call that has not ended, oldest first, for a restart to resume."""
        async with self._reading() as session:
            live = select(Call).where(col(Call.status).in_(LIVE))
            found = await session.exec(live.order_by(col(Call.created_at), col(Call.id)))
            return list(found)

    @_shielded
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

    @_shielded
    async def write(self, rows: Sequence[Row]) -> int:
        """Insert turns, events and token counts of any calls, in this order.

        Returns how many were skipped because their call was deleted.
        """
        async with self._writing() as session:
            asked = {row.call_id for row in rows}
            there = {*await session.exec(select(Call.id).where(col(Call.id).in_(asked)))}
            kept = [row for row in rows if row.call_id in there]
            await _insert(session, kept)
        return len(rows) - len(kept)

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

    async def check_writing(self) -> None:
        """Raise when the last write failed: of a call, or a probe when that is over a second ago.

        Raises: DatabaseUnavailable.
        """
        if self._probe is None and time.monotonic() - self._tried_at > _PROBE_AFTER_SECS:
            self._probe = asyncio.create_task(self._write_probe(), name="write-probe")
        if self._probe is not None:
            await asyncio.shield(self._probe)
        if self._write_failure is not None:
            raise self._write_failure

    # --- below

    async def _write_probe(self) -> None:
        """Commit a change that means nothing: reaching the database does not show a full disk."""
        try:
            async with self._writing() as session:
                connection = await session.connection()
                if connection.dialect.name == "sqlite":
                    change = f"PRAGMA user_version = {int(time.time()) % 2**31}"
                else:
                    change = "UPDATE alembic_version SET version_num = version_num"
                await connection.exec_driver_sql(change)
        except DatabaseUnavailable:
            pass  # `_writing` has noted it
        finally:
            self._probe = None

    def _note_write(self, failure: DatabaseUnavailable | None) -> None:
        self._tried_at, self._write_failure = time.monotonic(), failure

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session
        except Exception as error:
            _raise_if_unavailable(error)
            raise

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        try:
            async with (
                AsyncSession(self._writer, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except Exception as error:
            try:
                _raise_if_unavailable(error)
            except DatabaseUnavailable as unavailable:
                self._note_write(unavailable)
                raise
            raise
        self._note_write(None)

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
        delete(Call).where(col(Call.id) == call_id),
    ]


def _raise_if_unavailable(error: Exception) -> None:
    if not isinstance(error, DatabaseUnavailable) and is_transient(error):
        raise DatabaseUnavailable(
            f"the database cannot be used now: {type(error).__name__}"
        ) from error


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
    for table in dict.fromkeys(type(row) for row in rows):
        names = [name for name in table.model_fields if name != "id"]
        values = [
            {name: getattr(row, name) for name in names} for row in rows if type(row) is table
        ]
        await session.exec(insert(table), params=values)
