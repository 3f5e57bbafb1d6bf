"""WorkerProcesses: keeps several copies of this process serving, and passes signals on to them.

    parent   fork ─▶ wait ─ one ended ─▶ pause 0.5, 1, 2 … 30 s ─▶ fork again
               │       └─ SIGTERM, SIGINT ─▶ to all (first: drain, second: stop) ─▶ wait for all
    worker     └─▶ serve(number, ready) ─ ready() ─▶ … ─▶ its exit code

Until all have been ready once, a worker that ends three times before it was ready ends them all:
what keeps it from starting will not go away. Later it is started again and again, for the others
carry calls, and a database that is away comes back. Copies share the memory of what was imported,
and a new one is there in a moment.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from loguru import logger

FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS = 0.5, 30.0
# A worker that has lived for so long is no longer one that keeps dying.
LIVED_SECS = 60.0
FAILED_STARTS = 3
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FORK = multiprocessing.get_context("fork")

# Serves until it is told to stop; calls `ready` once it accepts requests. Returns the exit code.
Serve = Callable[[int, Callable[[], None]], int]


@dataclass(eq=False)
class _Worker:
    number: int
    process: Any = None
    # Becomes readable when the worker is ready.
    says: Connection | None = None
    is_ready: bool = False
    failed_starts: int = 0
    started_at: float = 0.0
    pause_secs: float = FIRST_PAUSE_SECS
    due_at: float = field(default_factory=time.monotonic)


class WorkerProcesses:
    """`count` workers, numbered from 0. `announce` is called when all are ready for the first time.

    `run` belongs to the main thread of a process that has no other thread.
    """

    def __init__(self, count: int, serve: Serve, announce: Callable[[], None]) -> None:
        self._workers = [_Worker(number) for number in range(count)]
        self._serve = serve
        self._announce: Callable[[], None] | None = announce
        self._received: list[int] = []
        self._stopping = False
        # Why no worker is started any more.
        self.failure: str | None = None
        # Each worker reads from this pipe, whose end tells that the parent is gone.
        self._parent_is_there, self._parent = os.pipe()

    def run(self) -> int:
        """Keep the workers until they are told to stop; the exit code: 1 when starting fails."""
        with self._woken_by_signals() as woken:
            try:
                while not (self._stopping and not self._living()):
                    self._start_those_due()
                    self._wait(woken)
                    self._pass_signals_on()
                    for worker in self._living():
                        self._look_at(worker)
            finally:
                for worker in self._living():
                    worker.process.kill()
        return 1 if self.failure else 0

    def _living(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _start_those_due(self) -> None:
        for worker in self._workers:
            due = worker.process is None and worker.due_at <= time.monotonic()
            if due and not self._stopping:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        worker.says, says = _FORK.Pipe(duplex=False)
        # A signal that comes before the copy has its own handlers waits until then.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            worker.process = _FORK.Process(
                target=self._run_worker, args=(worker.number, says), name=f"worker-{worker.number}"
            )
            worker.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        says.close()
        worker.started_at = time.monotonic()

    def _run_worker(self, number: int, says: Connection) -> None:
        # Control-C in a terminal goes to its whole group; a worker hears of it from the parent.
        os.setpgrp()
        os.close(self._parent)
        signal.set_wakeup_fd(-1)
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        threading.Thread(target=self._end_with_parent, name="parent-watch", daemon=True).start()
        raise SystemExit(self._serve(number, says.close))

    def _end_with_parent(self) -> None:
        os.read(self._parent_is_there, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _wait(self, woken: socket.socket) -> None:
        living = self._living()
        pauses = [w.due_at - time.monotonic() for w in self._workers if w.process is None]
        starting = [w.says for w in living if w.says is not None]
        sentinels = [w.process.sentinel for w in living]
        timeout = None if self._stopping or not pauses else max(0.0, min(pauses))
        if woken in wait([woken, *starting, *sentinels], timeout):
            woken.recv(4096)

    def _pass_signals_on(self) -> None:
        received, self._received = self._received, []
        for number in received:
            self._stopping = True
            self._send_all(number)

    def _send_all(self, number: int) -> None:
        for worker in self._living():
            if worker.process.is_alive():
                os.kill(worker.process.pid, number)

    def _look_at(self, worker: _Worker) -> None:
        if worker.says is not None and worker.says.poll():
            worker.says.close()
            worker.says = None
            # The pipe also ends with a worker that was never ready.
            worker.is_ready = worker.process.is_alive()
        if not worker.process.is_alive():
            self._ended(worker)
        elif self._announce is not None and all(one.is_ready for one in self._workers):
            self._announce()
            self._announce = None

    def _ended(self, worker: _Worker) -> None:
        why = _how(worker.process.exitcode)
        worker.process.close()
        was_ready, worker.is_ready, worker.process = worker.is_ready, False, None
        if self._stopping:
            return
        worker.failed_starts = 0 if was_ready else worker.failed_starts + 1
        if worker.failed_starts >= FAILED_STARTS and self._announce is not None:
            self.failure = (
                f"Worker {worker.number} has ended {FAILED_STARTS} times before it was ready "
                f"({why}); its log says why."
            )
            self._stopping = True
            self._send_all(signal.SIGTERM)
            return
        if was_ready and time.monotonic() - worker.started_at >= LIVED_SECS:
            worker.pause_secs = FIRST_PAUSE_SECS
        worker.due_at = time.monotonic() + worker.pause_secs
        logger.error(
            "A worker has ended, and is started again",
            worker=worker.number,
            how=why,
            pause_secs=worker.pause_secs,
        )
        worker.pause_secs = min(2 * worker.pause_secs, LONGEST_PAUSE_SECS)

    @contextmanager
    def _woken_by_signals(self) -> Iterator[socket.socket]:
        def note(number: int, _: FrameType | None) -> None:
            self._received.append(number)

        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            handlers = {one: signal.signal(one, note) for one in _SIGNALS}
            fd = signal.set_wakeup_fd(theirs.fileno())
            try:
                yield ours
            finally:
                signal.set_wakeup_fd(fd)
                for one, handler in handlers.items():
                    signal.signal(one, handler)


def _how(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
