"""Writes the record of running calls in batches, so that a call never waits for the database.

turn, event, usage ──▶ one queue, in order ──▶ a batch every 0.5 s ──▶ CallLog.write
                          (all calls)             retried while the database is unavailable
                              └──▶ RecordSpool: on disk meanwhile, for the next process if this dies
"""

import asyncio
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from agent.clock import Clock, loop_clock, utc_datetime
from agent.ports import SpokenTurn, TokenCount
from agent.record.call_log import CallLog, Progress, Row
from agent.record.database import is_transient
from agent.record.models import CallEvent, TokenUsage, Turn
from agent.record.spool import RecordSpool

_BATCH_SECS = 0.5
_BATCH_ROWS = 500
_FIRST_PAUSE_SECS = 0.1
_LONGEST_PAUSE_SECS = 5.0
# While the database is away, rows are on disk after so long.
_KEPT_WITHIN_SECS = 0.5

# How long a stop waits for what only keeps the database tidy.
_TIDIED_WITHIN_SECS = 1.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that are written in one transaction, and their numbers among those of `writer`."""

    rows: Sequence[Row]
    numbers: Sequence[int]
    # None: it keeps nothing on disk, so that nothing could be written again.
    writer: str | None

    @property
    def progress(self) -> Progress | None:
        return None if self.writer is None else Progress(self.writer, self.numbers[-1] + 1)

    def part(self, start: int, count: int) -> "_Batch":
        numbers = self.numbers[start : start + count]
        return _Batch(self.rows[start : start + count], numbers, self.writer)


class RecordWriter:
    """Writes the rows of all `CallRecorder`s of this process.

    `events_at_most` bounds the rows that one call may have waiting. Beyond it, its events are
    dropped and counted; its turns and usage never are. `spool` keeps rows while the database is
    away; without one they wait in memory. `start` and `close` belong to the lifespan.
    """

    def __init__(
        self,
        call_log: CallLog,
        *,
        events_at_most: int = 1000,
        clock: Clock | None = None,
        spool: RecordSpool | None = None,
    ) -> None:
        self._call_log = call_log
        self._spool = spool
        self._events_at_most = events_at_most
        self._clock = clock
        self._rows: deque[Row] = deque()
        self._waiting: Counter[str] = Counter()
        self._has_rows = asyncio.Event()
        self._flush_now = asyncio.Event()
        # Rows put and written since the start, and who waits for which to be written.
        self._put_count = 0
        self._written_count = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._dropped_of: Counter[str] = Counter()
        # Dropped events, and rows that the database refused.
        self.dropped = 0
        self.refused = 0

    @property
    def is_broken(self) -> bool:
        """Whether writing ended before `close`: nothing is recorded any more."""
        return self._task is not None and self._task.done() and not self._closing

    @property
    def waiting(self) -> int:
        """How many rows are not in the database yet."""
        return len(self._rows)

    def start(self) -> None:
        """Start writing, on the running loop."""
        self._clock = self._clock or loop_clock()
        self._task = asyncio.create_task(self._run(), name="record-writer")

    def recorder(self, call_id: str) -> "CallRecorder":
        """The recorder of one call."""
        return CallRecorder(self, call_id)

    def put(self, row: Row) -> None:
        """Queue a row; it is in the database about half a second later."""
        call_id = row.call_id
        full = self._waiting.get(call_id, 0) >= self._events_at_most
        if full and isinstance(row, CallEvent):
            self._drop(call_id)
            return
        if self._task is not None and self._task.done():
            self._drop(call_id)
            return
        self._rows.append(row)
        self._put_count += 1
        self._waiting[call_id] += 1
        self._has_rows.set()

    def now(self) -> float:
        """Seconds since the epoch."""
        self._clock = self._clock or loop_clock()
        return self._clock()

    async def flush(self, call_id: str) -> None:
        """Wait until all rows put for this call so far are in the database."""
        if call_id not in self._waiting:
            return
        written = asyncio.get_running_loop().create_future()
        self._flushes.append((self._put_count, written))
        self._flush_now.set()
        await written

    async def close(self, timeout: float = 10.0) -> None:
        """Write everything and stop; rows not written after `timeout` seconds are left on disk."""
        self._closing = True
        self._has_rows.set()
        self._flush_now.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=timeout)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._leave_on_disk()
        for _, written in self._flushes:
            written.cancel()

    async def _leave_on_disk(self) -> None:
        await self._keep()
        kept = 0
        if self._spool is not None:
            kept = self._spool.kept
            self._spool.close()
        if kept:
            logger.bind(rows=kept).warning("Rows of the record are left on disk")
        if lost := len(self._rows) - kept:
            logger.bind(rows=lost).error("Rows of the record were lost at shutdown")
        if (
            self._spool is not None
            and self._written_count
            and not (self._rows or self._spool.stays)
        ):
            await self._forget_writer(self._spool.writer)

    async def _keep(self) -> None:
        """Have the rows that wait on disk, too."""
        if self._spool is not None and self._rows:
            await asyncio.to_thread(self._spool.keep, list(self._rows), self._written_count)

    async def _write_left_over(self) -> None:
        """Write what processes that died have left on disk."""
        if self._spool is None:
            return
        found, stay = await asyncio.to_thread(self._spool.left_over), set[str | None]()
        for left in found:
            rows = _Batch(left.rows, left.numbers, left.writer)
            start = bisect_left(left.numbers, await self._written_by(left.writer))
            for at in range(start, len(left.rows), _BATCH_ROWS):
                await self._write_with_retries(rows.part(at, _BATCH_ROWS))
            if not await asyncio.to_thread(left.done):
                stay.add(left.writer)
            logger.bind(rows=len(left.rows) - start).info("Rows that were left on disk are written")
        # A process may have left several files.
        for writer in {left.writer for left in found} - stay:
            await self._forget_writer(writer)

    async def _written_by(self, writer: str | None) -> int:
        """How many rows of a process are in the database; waits until it can be asked."""
        pause = _FIRST_PAUSE_SECS
        while writer is not None:
            try:
                return await self._call_log.written_by(writer)
            except Exception as error:
                if not is_transient(error):
                    logger.opt(exception=error).error("It is not known which rows were written")
                    break
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)
        return 0

    async def _forget_writer(self, writer: str | None) -> None:
        if writer is None:
            return
        try:
            async with asyncio.timeout(_TIDIED_WITHIN_SECS):
                await self._call_log.forget_writer(writer)
        except Exception as error:
            logger.bind(error=type(error).__name__).debug("The count of a process stays")

    async def _run(self) -> None:
        await self._write_left_over()
        while True:
            await self._has_rows.wait()
            if not self._rows and self._closing:
                return
            await self._wait_for_batch()
            while self._rows:
                rows = [self._rows[i] for i in range(min(_BATCH_ROWS, len(self._rows)))]
                numbers = range(self._written_count, self._written_count + len(rows))
                writer = None if self._spool is None else self._spool.writer
                await self._write_with_retries(_Batch(rows, numbers, writer))
                self._forget(rows)
                if self._spool is not None:
                    self._spool.written(len(rows))
            self._flush_now.clear()
            if not self._closing:
                self._has_rows.clear()

    async def _wait_for_batch(self) -> None:
        try:
            async with asyncio.timeout(_BATCH_SECS):
                await self._flush_now.wait()
        except TimeoutError:
            pass

    async def _write_with_retries(self, batch: _Batch) -> None:
        """Write a batch, retrying while the database is unavailable; skip rows that it refuses."""
        pause = _FIRST_PAUSE_SECS
        failures = 0
        while True:
            try:
                await self._call_log.write(batch.rows, batch.progress)
            except Exception as error:
                if not is_transient(error):
                    await self._write_one_by_one(batch, error)
                    return
                failures += 1
                if failures == 1:
                    logger.bind(error=type(error).__name__).error(
                        "The record cannot be written; retrying"
                    )
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECS)
            else:
                if failures:
                    logger.bind(failures=failures).info("The record is written again")
                return

    async def _pause(self, secs: float) -> None:
        """Wait for the database; what comes meanwhile is on disk soon."""
        while secs > 0:
            await self._keep()
            await asyncio.sleep(min(secs, _KEPT_WITHIN_SECS))
            secs -= _KEPT_WITHIN_SECS

    async def _write_one_by_one(self, batch: _Batch, error: Exception) -> None:
        if len(batch.rows) > 1:
            for at in range(len(batch.rows)):
                await self._write_with_retries(batch.part(at, 1))
            return
        self.refused += 1
        # The error's text would contain the row, and so what the caller said.
        refused = logger.bind(table=type(batch.rows[0]).__name__, error=type(error).__name__)
        refused.error("The database refused a row of the record")

    def _forget(self, batch: list[Row]) -> None:
        for row in batch:
            self._rows.popleft()
            self._waiting[row.call_id] -= 1
            if not self._waiting[row.call_id]:
                del self._waiting[row.call_id]
                self._dropped_of.pop(row.call_id, None)
        self._written_count += len(batch)
        while self._flushes and self._flushes[0][0] <= self._written_count:
            _, written = self._flushes.popleft()
            if not written.done():
                written.set_result(None)

    def _drop(self, call_id: str) -> None:
        self.dropped += 1
        self._dropped_of[call_id] += 1
        if self._dropped_of[call_id] == 1:
            logger.bind(call_id=call_id).warning("A call has too many events; some are dropped")


class CallRecorder:
    """`ports.Record` of one call: each method returns at once and never fails."""

    def __init__(self, writer: RecordWriter, call_id: str) -> None:
        self._writer = writer
        self._call_id = call_id

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        self._writer.put(
            Turn(
                call_id=self._call_id,
                who=turn.who,
                text=turn.text,
                start_ms=turn.start_ms,
                end_ms=turn.end_ms,
                interrupted=turn.interrupted,
            )
        )

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event; `kind` is a dotted constant of at most 64 characters."""
        at = utc_datetime(self._writer.now())
        event = CallEvent(call_id=self._call_id, at=at, kind=kind[:64], detail=dict(detail or {}))
        self._writer.put(event)

    def usage(self, counts: list[TokenCount]) -> None:
        """Record the tokens of one turn."""
        at = utc_datetime(self._writer.now())
        for count in counts:
            self._writer.put(
                TokenUsage(
                    call_id=self._call_id,
                    at=at,
                    direction=count.direction,
                    modality=count.modality,
                    tokens=count.tokens,
                )
            )
