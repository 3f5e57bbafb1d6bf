"""Cassettes: begins, writes, finds and erases the cassettes of this instance's calls.

    Tape.take() ─ each call once a second ─▶ one thread ─▶ FOLDER/<call id>.cassette
                                                ▲
    erase: one call's, or all that are too old ─┘

Calls take turns within the second: the thread shares the interpreter with the packets of all calls,
and must not have it for long.

A full, slow or failing disk ends cassettes, never calls: what cannot be written is dropped, noted
in the call's record and counted.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from agent.clock import Clock
from agent.measures import CassetteEnded, CassetteWritten, MeasureSink
from agent.ports import Record
from agent.record.models import Call
from pipelines.definition import PipelineDefinition
from pipelines.recording.tape import Tape
from server.cassettes.blocks import CassetteError, Cipher
from server.cassettes.policy import CassettePolicy
from server.cassettes.writer import CassetteFile, Job, write
from server.recordings.retention import DAY_SECS, erase_older
from server.recordings.writer import why

SUFFIX = ".cassette"
WRITE_EVERY_SECS = 1.0
# How often it is looked whose turn it is.
LOOK_EVERY_SECS = 0.1
LOOK_FOR_OLD_EVERY_SECS = 3600.0
# How long callers wait for the thread.
TIMEOUT_SECS = 5.0
# A call whose end is never reported here: another instance may carry it.
END_KNOWN_WITHIN_SECS = 60.0


@dataclass(slots=True)
class _Kept:
    call_id: str
    asked: bool | None
    tape: Tape
    record: Record
    file: CassetteFile
    # When its next block is due, on the loop's clock.
    due_at: float
    # How the call ended, and whether its cassette is to be kept, once that is known.
    end: Mapping[str, Any] | None = None
    keeps: bool = True
    stopped_at: float | None = None
    noted: bool = False


class Cassettes:
    """`open` and `close` belong to the lifespan."""

    def __init__(
        self,
        policy: CassettePolicy,
        *,
        facts: Callable[[], Mapping[str, Any]],
        measure: MeasureSink,
        clock: Clock,
    ) -> None:
        """`facts`: the settings, versions and model that each cassette's head tells."""
        self._policy = policy
        self._facts = facts
        self._measure = measure
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        # Calls that began here again before their end was known; a new file goes on with theirs.
        self._followed: list[_Kept] = []
        self._write_now = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cassettes")
        self._writing: asyncio.Task[None] | None = None
        self._erasing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start erasing old cassettes; writing starts with the first of them."""
        if self._policy.keep_days:
            self._erasing = self._start(self._erase_old(), "old-cassettes")

    async def close(self) -> None:
        """Write what there is and stop; wait at most 5 s for the disk."""
        for kept in list(self._kept.values()):
            kept.tape.stop()
        self._closing = True
        self._write_now.set()
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=TIMEOUT_SECS)
        tasks = [task for task in (self._writing, self._erasing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def begin(self, call: Call, definition: PipelineDefinition, record: Record) -> Tape | None:
        """Begin the cassette of a call whose pipeline starts; None when none is kept."""
        asked = call.profile.get("cassette")
        if self._closing or not self._policy.begins(call.id, asked):
            return None
        loop = asyncio.get_running_loop()
        head = {
            "call_id": call.id,
            "phone_number": call.phone_number,
            "direction": call.direction.value,
            "pipeline": call.pipeline,
            "steps": [step.name for step in definition.steps],
            "profile": call.profile,
            "metadata": call.extra,
            "began": self._clock(),
            **self._facts(),
        }
        path, key = self.path(call.id), self._policy.key
        cipher = None if key is None else Cipher(key, call.id)
        began = loop.time()
        file = CassetteFile(path, head, began, cipher, self._policy.most_bytes)
        tape = Tape(loop.time, self._write_now.set)
        due_at = began + WRITE_EVERY_SECS
        if (before := self._kept.get(call.id)) is not None:
            before.tape.stop()
            self._followed.append(before)
        self._kept[call.id] = _Kept(call.id, asked, tape, record, file, due_at)
        if self._writing is None:
            self._writing = self._start(self._write_behind(), "cassettes")
        return tape

    def call_ended(self, call: Call) -> None:
        """Note how a call ended; it goes into the cassette, or decides that none is kept."""
        kept = self._kept.get(call.id)
        if kept is not None:
            reason = call.end_reason.value if call.end_reason else None
            kept.end = {"status": call.status.value, "end_reason": reason}
            kept.keeps = kept.tape.was_answered and self._policy.keeps(call, kept.asked)
            self._write_now.set()

    def path(self, call_id: str) -> Path:
        """The path of a call's cassette, whether or not it exists."""
        return self._policy.folder / f"{call_id}{SUFFIX}"

    async def erase(self, call_id: str) -> None:
        """Stop and erase the cassette of a call, if there is one.

        Raises: OSError when the file cannot be deleted; TimeoutError, which is an OSError, when
        the disk does not answer.
        """
        here = [kept for kept in self._followed if kept.call_id == call_id]
        self._followed = [kept for kept in self._followed if kept.call_id != call_id]
        if (kept := self._kept.pop(call_id, None)) is not None:
            here.append(kept)
        for kept in here:
            kept.tape.stop()
            self._note_end(kept, "erased")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_SECS):
            files = [kept.file for kept in here]
            await loop.run_in_executor(self._thread, _erase, self.path(call_id), files)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=name)

    async def _write_behind(self) -> None:
        loop = asyncio.get_running_loop()
        closing = False
        while not closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECS if self._kept else WRITE_EVERY_SECS):
                    await self._write_now.wait()
            self._write_now.clear()
            closing = self._closing
            await self._write(loop, closing)

    async def _write(self, loop: asyncio.AbstractEventLoop, closing: bool) -> None:
        followed, self._followed = self._followed, []
        batch = [(kept, Job(kept.file, kept.tape.take(), last=True)) for kept in followed]
        now = loop.time()
        for kept in list(self._kept.values()):
            last = self._is_last(kept, now, closing)
            if last and not kept.keeps:
                del self._kept[kept.call_id]
                before = [each.file for each in followed if each.call_id == kept.call_id]
                # Not waited for: what is taken below is written before anything else happens.
                loop.run_in_executor(self._thread, _erase_quietly, [*before, kept.file])
                continue
            if now < kept.due_at and not kept.tape.is_over:
                continue
            kept.due_at = max(kept.due_at + WRITE_EVERY_SECS, now)
            entries = kept.tape.take()
            if entries or last:
                batch.append((kept, Job(kept.file, entries, last, kept.end if last else None)))
        if not batch:
            return
        results = await loop.run_in_executor(self._thread, write, [job for _, job in batch])
        if grown := sum(result for result in results if isinstance(result, int)):
            self._measure(CassetteWritten(grown))
        for (kept, job), result in zip(batch, results, strict=True):
            if self._kept.get(kept.call_id) is not kept:
                continue
            if not isinstance(result, int):
                self._fail(kept, result)
            elif job.last:
                del self._kept[kept.call_id]
                self._note_end(kept, "whole")
            elif kept.tape.overflowed or kept.file.is_full:
                kept.tape.stop()
                self._note_end(kept, "too_slow" if kept.tape.overflowed else "limit")

    def _is_last(self, kept: _Kept, now: float, closing: bool) -> bool:
        """Whether nothing more will come: the tape is over, and how the call ended is known."""
        if not kept.tape.is_over:
            return False
        if kept.stopped_at is None:
            kept.stopped_at = now
        late = now - kept.stopped_at >= END_KNOWN_WITHIN_SECS
        if late and kept.end is None:
            kept.keeps = kept.tape.was_answered
        return closing or kept.end is not None or late

    def _fail(self, kept: _Kept, error: OSError | CassetteError) -> None:
        kept.tape.stop()
        says = getattr(error, "strerror", None) or str(error)
        logger.error("A cassette cannot be written", call_id=kept.call_id, why=says)
        del self._kept[kept.call_id]
        self._note_end(kept, why(error) if isinstance(error, OSError) else "cannot_write")

    def _note_end(self, kept: _Kept, outcome: str) -> None:
        if kept.noted:
            return
        kept.noted = True
        self._measure(CassetteEnded(outcome))
        if outcome not in ("whole", "erased"):
            kept.record.event("cassette.stopped", {"why": outcome})

    async def _erase_old(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            older_than = self._clock() - self._policy.keep_days * DAY_SECS
            erase = loop.run_in_executor(
                self._thread, erase_older, self._policy.folder, older_than, SUFFIX
            )
            if erased := await erase:
                logger.info("Old cassettes were erased", cassettes=erased)
            await asyncio.sleep(LOOK_FOR_OLD_EVERY_SECS)


def _erase(path: Path, files: Sequence[CassetteFile]) -> None:
    for file in files:
        file.erase()
    path.unlink(missing_ok=True)


def _erase_quietly(files: Sequence[CassetteFile]) -> None:
    try:
        for file in files:
            file.erase()
    except OSError as error:
        logger.error("A cassette cannot be erased", path=file.path.name, why=error.strerror)
