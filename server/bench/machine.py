"""The machine that a bench runs on: one bench at a time, its cores, and who comes first."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

LOCK = Path(tempfile.gettempdir()) / "voice-ai-bench.lock"

Measured = TypeVar("Measured")


class NoPriority(Exception):
    """The system does not allow to run ahead of others."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    server: tuple[int, ...]
    load: tuple[int, ...]


def shared_out(servers: int = 1) -> Cores | None:
    """So many cores for the server, the others for the load; None where that cannot be done."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    there = tuple(sorted(os.sched_getaffinity(0)))
    return Cores(there[-servers:], there[:-servers]) if len(there) > servers else None


def run_alone(
    measure: Callable[[], Coroutine[Any, Any, Measured]],
    cores: Cores | None,
    *,
    priority: bool,
    tell: Callable[[str], None],
) -> Measured:
    """Run a measurement on uvloop, on the cores of the load, once no other bench runs.

    Raises: NoPriority, and what `measure` raises.
    """
    with (
        alone(lambda: tell("Another bench runs on this machine; waiting.")),
        ahead_of_others(priority),
        staying_on(cores.load if cores else None),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(measure())


@contextmanager
def alone(wait: Callable[[], None], lock: Path | None = None) -> Iterator[None]:
    """Wait until no other bench runs, which would measure this one; `wait` is called then."""
    with (lock or LOCK).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def staying_on(cores: tuple[int, ...] | None) -> Iterator[None]:
    """This thread runs on these cores, and so does what it starts: a process keeps them for life.

    None: on any, as before.
    """
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def ahead_of_others(wanted: bool) -> Iterator[None]:
    """What runs here, and every process that is started here, is never kept waiting by others.

    Raises: NoPriority without the right to it (root, or CAP_SYS_NICE).
    """
    if not wanted:
        yield
        return
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError) as problem:
        raise NoPriority(str(problem)) from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def is_ahead() -> bool:
    """Whether this runs ahead of others."""
    return hasattr(os, "SCHED_RR") and os.sched_getscheduler(0) == os.SCHED_RR
