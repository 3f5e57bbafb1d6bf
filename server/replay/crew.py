"""Processes that play scenarios beside each other; one that dies takes only its own replay along.

All that they put on the disk is in one folder, which is gone when they are, however they ended.
"""

import signal
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Generic, TypeVar

# Told to stop, a process that is idle is gone at once.
STOPS_WITHIN_SECS = 5.0

Order = TypeVar("Order")
Answer = TypeVar("Answer")


@dataclass
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    # The order it works at, by its number.
    at: int = -1


class Crew(Generic[Order, Answer]):
    """Up to `size` processes that answer orders by `work`, which must be importable by its name.

    `lost` makes the answer of a process that died over an order; it is told how.
    """

    def __init__(
        self,
        size: int,
        work: Callable[[Order], Answer],
        lost: Callable[[Order, str], Answer],
        *,
        preload: Sequence[str] = (),
    ) -> None:
        self._size, self._work, self._lost = size, work, lost
        # One process imports everything, the others are forked from it: no import is paid twice.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    def answers(
        self,
        orders: Sequence[Order],
        *,
        on_start: Callable[[Order], None],
        on_done: Callable[[Answer], None],
    ) -> list[Answer]:
        """What comes of all orders, in their order. Whatever is raised stops all processes."""
        waiting = deque(range(len(orders)))
        done: dict[int, Answer] = {}
        idle: list[_Worker] = []
        busy: dict[Connection, _Worker] = {}
        with tempfile.TemporaryDirectory(prefix="voice-ai-replay-") as scratch:
            try:
                _start_the_forkserver()
                while waiting or busy:
                    while waiting and len(busy) < self._size:
                        worker = idle.pop() if idle else self._start(scratch)
                        busy[worker.pipe] = worker
                        worker.at = waiting.popleft()
                        on_start(orders[worker.at])
                        # One that died meanwhile is found out when its answer is read.
                        with suppress(OSError):
                            worker.pipe.send(orders[worker.at])
                    ready = set(wait(list(busy)))
                    for worker in [worker for pipe, worker in busy.items() if pipe in ready]:
                        del busy[worker.pipe]
                        try:
                            answer: Answer = worker.pipe.recv()
                            idle.append(worker)
                        except (EOFError, OSError):
                            answer = self._lost(orders[worker.at], _end_of(worker))
                        done[worker.at] = answer
                        on_done(answer)
            finally:
                _stop([*idle, *busy.values()])
        return [done[number] for number in range(len(orders))]

    def _start(self, scratch: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._work, scratch))
        process.daemon = True
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _work(pipe: Connection, work: Callable[[Order], Answer], scratch: str) -> None:
    """The life of a process. Ctrl-C is for the one that it works for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = scratch
    with suppress(EOFError, BrokenPipeError):
        while True:
            pipe.send(work(pipe.recv()))


def _start_the_forkserver() -> None:
    """So that Ctrl-C reaches neither it, which may still import, nor what is forked from it."""
    # It would be started with the other, and lets signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_of(worker: _Worker) -> str:
    worker.process.join(STOPS_WITHIN_SECS)
    worker.pipe.close()
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
        worker.pipe.close()
    for worker in workers:
        worker.process.join(STOPS_WITHIN_SECS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
