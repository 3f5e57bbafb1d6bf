"""The record of all calls: the only file with SQL.

Each method is one transaction; it raises `DatabaseAway` when the database is busy, full or away,
and then nothing of it was kept. The life of a call, the API and the recorder share one `CallLog`,
and several processes one database.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import zip_longest
from typing import Any, TypeVar

from sqlalchemy import (
    Delete,
    Executable,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from agent.calls import (
    Call,
    CallEvent,
    CallStatus,
    Direction,
    NewEvent,
    NewTurn,
    NewUsage,
    Placement,
    TokenUsage,
    Turn,
)
from agent.database import WRITES, is_passing
from agent.database import DatabaseAway as DatabaseAway
from agent.database import open_engine as open_engine
from agent.latency import LATENCY_EVENTS, Latency
from agent.life_columns import life_columns
from agent.life_state import CallState
from agent.one_trip import Run, Transactions, Work
from agent.page_cursor import BadCursor as BadCursor
from agent.page_cursor import cursor_after, read_cursor
from agent.storable import make_storable, storable_changes

LIVE = (CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS)

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)

# Any number that nothing else in the database locks: whoever counts calls before it creates one.
_POSTGRES_COUNTING = 7_265_190_114

# What is written behind a running call.
Row = Turn | NewTurn | CallEvent | NewEvent | TokenUsage | NewUsage
# Those that only say what is to be kept, and of which table they are.
_NEW: dict[type, type[SQLModel]] = {NewTurn: Turn, NewEvent: CallEvent, NewUsage: TokenUsage}

T = TypeVar("T")


class NoSuchCall(LookupError):
    """There is no call with this id, or it was deleted."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"there is no call {call_id!r}")
        self.call_id = call_id


class LifeWentOn(Exception):
    """Another process has kept the life of the call meanwhile."""


class CallIsLive(Exception):
    """The call has not ended, so its record cannot be deleted."""


class IdempotencyConflict(Exception):
    """The idempotency key came before, with another request."""


class DailyLimitReached(Exception):
    """As many outbound calls as may be were created in the last 24 hours."""


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some calls, newest first; `next_cursor` asks for those after them, None: there are none."""

    calls: list[Call]
    next_cursor: str | None


class CallLog:
    """The record of all calls in a database.

    `daily_limit` bounds the outbound calls of any 24 hours, of all processes that share it; one
    whose record was erased still counts.
    """

    def __init__(self, engine: AsyncEngine, *, daily_limit: int | None = None) -> None:
        self._reader = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._transactions = Transactions(engine)
        self._daily_limit = daily_limit
        self._forgot_placements_at = datetime.min.replace(tzinfo=UTC)

    # --- the call and its life

    async def create(self, call: Call, events: Sequence[CallEvent | NewEvent] = ()) -> Call:
        """Keep a new call with its first events; return it as kept.

        When a call with its `idempotency_key` is there already, that one is returned (another id).

        Raises: IdempotencyConflict when that one has another `request_fingerprint`;
        DailyLimitReached when the call would be one too many.
        """
        values = make_storable(call)
        key = call.idempotency_key
        while True:
            clash: IntegrityError | None = None
            try:
                if await self._change(lambda run: self._create(run, call, values, events)):
                    return call
            except IntegrityError as error:
                # Two at once, where the database let both look before either wrote.
                clash = error
            async with self._reading() as session:
                known = await self._by_key(session, key)
            if clash is not None and (known is None or known.id == call.id):
                raise clash
            if known is None:
                continue  # it was deleted meanwhile
            if known.request_fingerprint != call.request_fingerprint:
                raise IdempotencyConflict("this idempotency key came before, with another request")
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

    async def save_life(
        self,
        call_id: str,
        state: CallState,
        events: Sequence[CallEvent | NewEvent] = (),
        known: int | None = None,
        before: CallState | None = None,
    ) -> dict[str, object]:
        """Keep the state of a call's life, the columns to query it by, and what brought it about.

        `known` is the revision of the record that the state follows from; None: whatever is there.
        `before` is the state in that revision: what differs is then all that is written.
        Returns what was written, by column, with the revision that the record has now.

        Raises: NoSuchCall; LifeWentOn when it has another revision than `known` by now.
        """
        columns = life_columns(state, before)
        statement = _saving_life(tuple(columns), known is not None)
        values = storable_changes(Call, columns)
        values["of_call"] = call_id
        values["known"] = known

        def save(run: Run) -> dict[str, object]:
            if known is not None:
                revision = known + 1 if run.changed(statement, values) else None
            else:
                revision = next((int(now) for (now,) in run(statement, values)), None)
            if revision is None:
                there = run(_IS_THERE, {"of_call": call_id})
                raise LifeWentOn(call_id) if there else NoSuchCall(call_id)
            _insert(run, events)
            columns["revision"] = revision
            return columns

        return await self._change(save)

    async def unfinished(self) -> list[Call]:
        """Every call that has not ended, oldest first: what a restart has to take up again."""
        async with self._reading() as session:
            live = select(Call).where(col(Call.status).in_(LIVE))
            found = await session.exec(live.order_by(col(Call.created_at), col(Call.id)))
            return list(found)

    async def delete(self, call_id: str) -> None:
        """Delete an ended call and everything of it.

        Raises: NoSuchCall, CallIsLive.
        """
        async with self._writing() as session:
            call = await self._call(session, call_id)
            if not call.status.is_terminal:
                raise CallIsLive(f"call {call_id!r} has not ended")
            for statement in _deletions(call_id):
                await session.exec(statement)

    # --- what was said and what happened

    async def write(self, rows: Sequence[Row]) -> int:
        """Keep turns, events and usage of any calls, in this order.

        Returns how many were left out because their call was deleted.
        """
        try:
            await self._change(lambda run: _insert(run, rows))
        except IntegrityError:
            return await self._change(lambda run: _insert_of_those_there(run, rows))
        return 0

    async def transcript(self, call_id: str) -> list[Turn]:
        """What was said, in the order it was spoken. Raises: NoSuchCall."""
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
        """How fast the call was, as far as it is known. Raises: NoSuchCall."""
        async with self._reading() as session:
            await self._call(session, call_id)
            told = select(CallEvent.kind, CallEvent.detail).where(col(CallEvent.call_id) == call_id)
            told = told.where(col(CallEvent.kind).in_(LATENCY_EVENTS))
            return Latency.told_by(await session.exec(told.order_by(col(CallEvent.id))))

    async def usage(self, call_id: str) -> list[TokenUsage]:
        """The tokens that the call took, oldest first. Raises: NoSuchCall."""
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
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> CallPage:
        """Calls that fit every filter, newest first; created from `since` to before `until`.

        Raises: BadCursor.
        """
        wanted = select(Call)
        if status is not None:
            wanted = wanted.where(col(Call.status) == status)
        if direction is not None:
            wanted = wanted.where(col(Call.direction) == direction)
        if phone_number is not None:
            wanted = wanted.where(col(Call.phone_number) == phone_number)
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
        """Raise what the database raises when it cannot be reached or was not migrated."""
        async with self._reading() as session:
            await session.exec(select(Call.id).where(false()))

    # --- below

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                yield session
        except Exception as error:
            _say_when_away(error)
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
            _say_when_away(error)
            raise

    async def _change(self, work: Work[T]) -> T:
        try:
            return await self._transactions.run(work)
        except Exception as error:
            _say_when_away(error)
            raise

    def _create(
        self,
        run: Run,
        call: Call,
        values: Mapping[str, Any],
        events: Sequence[CallEvent | NewEvent],
    ) -> bool:
        """Keep a new call, unless its idempotency key is known; whether it was kept."""
        outbound = call.direction is Direction.OUTBOUND
        limit = self._daily_limit if outbound else None
        if limit is not None and self._writer.dialect.name == "postgresql":
            # Hold off everybody who would count now. SQLite has one writer at a time by itself.
            run(_COUNT_ALONE)
        key = call.idempotency_key
        if key is not None and run(_BY_KEY, {"key": key}):
            return False
        if limit is not None:
            [(count,)] = run(_COUNT_PLACEMENTS, {"since": call.created_at - DAY})
            if count >= limit:
                raise DailyLimitReached(f"{limit} calls were placed in 24 hours")
        if outbound:
            if call.created_at - self._forgot_placements_at >= HOUR:
                run(_FORGET_PLACEMENTS, {"before": call.created_at - DAY})
                self._forgot_placements_at = call.created_at
            run(_PLACED, {"at": call.created_at})
        # The call's row has to be there before its events'.
        run(_CREATE, values)
        _insert(run, events)
        return True

    @staticmethod
    async def _call(session: AsyncSession, call_id: str) -> Call:
        call = await session.get(Call, call_id)
        if call is None:
            raise NoSuchCall(call_id)
        return call

    @staticmethod
    async def _by_key(session: AsyncSession, key: str | None) -> Call | None:
        if key is None:
            return None
        found = await session.exec(select(Call).where(col(Call.idempotency_key) == key))
        return found.first()


# Statements of every call, made once.
_CALLS = Call.metadata.tables["calls"]
_CREATE = insert(_CALLS)
_PLACED = insert(Call.metadata.tables["placements"])
_FORGET_PLACEMENTS = delete(Placement).where(col(Placement.at) < bindparam("before"))
_COUNT_PLACEMENTS = (
    select(func.count()).select_from(Placement).where(col(Placement.at) >= bindparam("since"))
)
_COUNT_ALONE = select(func.pg_advisory_xact_lock(_POSTGRES_COUNTING))
_BY_KEY = select(Call.id).where(col(Call.idempotency_key) == bindparam("key"))
_IS_THERE = select(Call.id).where(col(Call.id) == bindparam("of_call"))
# So many at a time, so that it is one statement.
_ASKED = tuple(f"asked_{number}" for number in range(16))
_THOSE_THERE = select(Call.id).where(col(Call.id).in_([bindparam(name) for name in _ASKED]))


@lru_cache
def _saving_life(columns: tuple[str, ...], follows: bool) -> Executable:
    """Writes these columns of a call and counts its revision; `follows`: of a known one alone,
    and otherwise it tells which one it is now.
    """
    saving = (
        update(_CALLS)
        .where(_CALLS.c.id == bindparam("of_call"))
        .values({column: bindparam(column) for column in columns})
        .values(revision=_CALLS.c.revision + 1)
    )
    if follows:
        return saving.where(_CALLS.c.revision == bindparam("known"))
    return saving.returning(_CALLS.c.revision)


def _deletions(call_id: str) -> list[Delete]:
    return [
        delete(Turn).where(col(Turn.call_id) == call_id),
        delete(CallEvent).where(col(CallEvent.call_id) == call_id),
        delete(TokenUsage).where(col(TokenUsage.call_id) == call_id),
        delete(Call).where(col(Call.id) == call_id),
    ]


def _say_when_away(error: Exception) -> None:
    if not isinstance(error, DatabaseAway) and is_passing(error):
        raise DatabaseAway(f"the database cannot be used now: {type(error).__name__}") from error


def _insert_of_those_there(run: Run, rows: Sequence[Row]) -> int:
    """Insert the rows of calls that are in the record; how many others there were."""
    there = _those_there(run, {row.call_id for row in rows})
    kept = [row for row in rows if row.call_id in there]
    _insert(run, kept)
    return len(rows) - len(kept)


def _those_there(run: Run, asked: Iterable[str]) -> set[str]:
    """Those of the calls that are in the record."""
    call_ids = sorted(asked)
    there: set[str] = set()
    for start in range(0, len(call_ids), len(_ASKED)):
        some = call_ids[start : start + len(_ASKED)]
        names = zip_longest(_ASKED, some, fillvalue=some[-1])
        there.update(call_id for (call_id,) in run(_THOSE_THERE, dict(names)))
    return there


def _insert(run: Run, rows: Sequence[Row]) -> None:
    """New rows, by table; the tables in the order of their first rows."""
    by_table: dict[type[SQLModel], list[Row]] = {}
    for row in rows:
        kind: type[Any] = type(row)
        by_table.setdefault(_NEW.get(kind, kind), []).append(row)
    for table, some in by_table.items():
        run.insert(table, some)
