"""Recordings: stores, finds and erases the recordings of this instance's calls.

    Recording.take() ─ every second, all calls ─▶ one thread ─▶ FOLDER/<call id>.wav
                                                     ▲
    erase: one call's, or all that are too old ──────┘

A full, slow or failing disk ends recordings, never calls: what cannot be written is dropped, noted
in the call's record and counted.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loguru import logger

from agent.clock import Clock
from agent.measures import MeasureSink, RecordingEnded, RecordingWritten
from agent.ports import Record
from agent.record.models import Call
from pipelines.recording.recording import Recording, State
from server.recordings.mulaw_wav import ForeignFile
from server.recordings.retention import DAY_SECS, erase_older
from server.recordings.writer import Job, RecordingFile, make_folder, why, write

WRITE_EVERY_SECS = 1.0
LOOK_FOR_OLD_EVERY_SECS = 3600.0
# How long callers wait for the thread.
TIMEOUT_SECS = 5.0


@dataclass(frozen=True, slots=True)
class RecordingPolicy:
    """Whether and where calls are recorded, the longest recording, and how long files are kept.

    `keep_days` 0: for ever. It applies to files in the folder even when `on` is false.
    """

    on: bool
    folder: Path
    longest_secs: float
    keep_days: int


@dataclass(slots=True)
class _Kept:
    call_id: str
    recording: Recording
    record: Record
    file: RecordingFile
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Recordings:
    """Begins, writes and erases recordings; `open` and `close` belong to the lifespan."""

    def __init__(self, policy: RecordingPolicy, *, measure: MeasureSink, clock: Clock) -> None:
        self._policy = policy
        self._measure = measure
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._write_now = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recordings")
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Start writing, and erasing old recordings."""
        if self._policy.on:
            self._start(self._write_behind(), "recordings")
        if self._policy.keep_days:
            self._start(self._erase_old(), "old-recordings")

    async def close(self) -> None:
        """Write what there is and stop; wait at most 5 s for the disk."""
        for kept in list(self._kept.values()):
            kept.recording.close()
        self._closing = True
        self._write_now.set()
        if self._tasks and self._policy.on:
            await asyncio.wait(self._tasks[:1], timeout=TIMEOUT_SECS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._kept:
            logger.error("Recordings were cut at shutdown", calls=len(self._kept))
        self._thread.shutdown(wait=False, cancel_futures=True)

    def begin(self, call: Call, record: Record) -> Recording | None:
        """Begin the recording of a call whose pipeline starts; None when it is not recorded."""
        age_secs = 0.0
        if call.answered_at is not None:
            age_secs = max(0.0, self._clock() - call.answered_at.timestamp())
        left_secs = self._policy.longest_secs - age_secs
        if not self._policy.on or left_secs <= 0:
            return None
        recording = Recording(
            asyncio.get_running_loop().time,
            longest_secs=left_secs,
            on_change=lambda: self._changed(kept),
        )
        kept = _Kept(call.id, recording, record, RecordingFile(self.path(call.id), age_secs))
        self._kept[call.id] = kept
        return recording

    def grows(self, call_id: str) -> bool:
        """Whether the call's recording is being written here."""
        kept = self._kept.get(call_id)
        return kept is not None and kept.recording.state is not State.RINGING

    def path(self, call_id: str) -> Path:
        """The path of a call's recording, whether or not it exists."""
        return self._policy.folder / f"{call_id}.wav"

    async def written(self, call_id: str) -> None:
        """Wait until the recording of an ended call is complete, at most 5 s."""
        kept = self._kept.get(call_id)
        if kept is None:
            return
        self._write_now.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECS):
                await kept.closed.wait()

    async def erase(self, call_id: str) -> None:
        """Stop and erase the recording of a call, if there is one.

        Raises: OSError when the file cannot be deleted; TimeoutError, which is an OSError, when
        the disk does not answer.
        """
        kept = self._kept.get(call_id)
        file = RecordingFile(self.path(call_id))
        if kept is not None:
            file = kept.file
            kept.recording.give_up()
            self._end(kept, "erased")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_SECS):
            await loop.run_in_executor(self._thread, file.erase)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _changed(self, kept: _Kept) -> None:
        if kept.recording.overflowed:
            self._note_end(kept, "too_slow")
        self._write_now.set()

    async def _write_behind(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._prepare_folder)
        closing = False
        while not closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY_SECS):
                    await self._write_now.wait()
            self._write_now.clear()
            closing = self._closing
            await self._write(loop)

    async def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[_Kept, Job]] = []
        for kept in list(self._kept.values()):
            cut = kept.recording.take()
            last = kept.recording.state is State.OVER
            if cut is not None or last:
                batch.append((kept, Job(kept.file, cut, last)))
        if not batch:
            return
        results = await loop.run_in_executor(self._thread, write, [job for _, job in batch])
        grown = sum(result for result in results if isinstance(result, int))
        if grown:
            self._measure(RecordingWritten(grown))
        for (kept, job), result in zip(batch, results, strict=True):
            if self._kept.get(kept.call_id) is not kept:
                continue
            if not isinstance(result, int):
                self._fail(kept, result)
            elif job.last:
                self._end(kept, self._outcome(kept))

    def _outcome(self, kept: _Kept) -> str | None:
        """The outcome of a recording that ended without error; None: reported already, or empty."""
        if kept.recording.full:
            return "limit"
        if kept.recording.overflowed or not kept.recording.taken_secs:
            return None
        return "whole"

    def _fail(self, kept: _Kept, error: OSError | ForeignFile) -> None:
        kept.recording.give_up()
        says = getattr(error, "strerror", None) or "the file is not a recording of ours"
        logger.error("A call cannot be recorded", call_id=kept.call_id, why=says)
        self._end(kept, why(error))

    def _end(self, kept: _Kept, outcome: str | None) -> None:
        del self._kept[kept.call_id]
        kept.closed.set()
        if outcome is not None:
            self._note_end(kept, outcome)

    def _note_end(self, kept: _Kept, outcome: str) -> None:
        self._measure(RecordingEnded(outcome))
        if outcome not in ("whole", "erased"):
            detail = {"why": outcome, "secs": round(kept.recording.taken_secs, 1)}
            kept.record.event("recording.stopped", detail)

    def _prepare_folder(self) -> None:
        try:
            make_folder(self._policy.folder)
        except OSError as error:
            logger.error("RECORDINGS_FOLDER cannot be created", why=error.strerror)

    async def _erase_old(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            older_than = self._clock() - self._policy.keep_days * DAY_SECS
            erase = loop.run_in_executor(self._thread, erase_older, self._policy.folder, older_than)
            if erased := await erase:
                logger.info("Old recordings were erased", recordings=erased)
            await asyncio.sleep(LOOK_FOR_OLD_EVERY_SECS)
