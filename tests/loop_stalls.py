"""Who blocks the event loop while a test runs: nobody of this system may, for long.

A thread looks at the loop's stack every 2 ms. Looks that find the same callback, one after the
other, are one stall:

    looks      a  a  a  b        callback a, from its first look to its last
"""

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType

LOOK_EVERY_SECS = 0.002
# Looks that are farther apart do not show that the loop waited between them.
CLOSE_SECS = 0.006
COMPUTES_SECS = 0.01
WAITS_SECS = 0.05
ROOT = Path(__file__).parents[1]
OURS = ("agent", "processors", "pipelines", "server", "tests")
# What speaks and hears for both vendors computes on the same loop, and is not this system.
NOT_THE_SYSTEM = "server/emulators/"
# The sockets of an event loop, which give the interpreter to others while they are written to.
NEVER_WAIT = ("asyncio/", "selectors.py", "ssl.py")

# A function and its place, as "pipelines/phone/transport_output.py:hear", and the line.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Stall:
    """One callback held the loop for as long as it computed, and waited at one line, in seconds.

    `stack` has the functions that the last look found, innermost first.
    """

    computed_secs: float
    waited_secs: float
    stack: tuple[Place, ...]

    @property
    def place(self) -> str:
        """The innermost function of this repository."""
        return next((name for name, _ in self.stack if name.split("/")[0] in OURS), "")


@dataclass(frozen=True, slots=True)
class _Look:
    runs: FrameType
    stack: tuple[Place, ...]
    at: float
    cpu_secs: float


@contextmanager
def watched_loop() -> Iterator[list[Stall]]:
    """The stalls of the running asyncio loop, growing for as long as this lasts."""
    assert isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    stalls: list[Stall] = []
    closed = threading.Event()
    thread = threading.Thread(target=_watch, args=(threading.get_ident(), stalls, closed))
    thread.start()
    try:
        yield stalls
    finally:
        closed.set()
        thread.join()


def of_the_system(stalls: list[Stall]) -> list[Stall]:
    """Those that code of this system certainly brought about: 10 ms of computing, or waiting.

    A machine that gives the core to other processes makes none of the first. Of the second it makes
    one here and there: who lets go of the interpreter for a moment may find the core gone, too. So
    a wait counts from its second time on, and not where sockets are used that never wait.
    """
    ours = [stall for stall in stalls if stall.place and not stall.place.startswith(NOT_THE_SYSTEM)]
    waits = [
        stall
        for stall in ours
        if stall.waited_secs >= WAITS_SECS and not stall.stack[0][0].startswith(NEVER_WAIT)
    ]
    times = Counter(stall.place for stall in waits)
    return [
        stall
        for stall in ours
        if stall.computed_secs >= COMPUTES_SECS or (stall in waits and times[stall.place] > 1)
    ]


def _watch(loops_thread: int, stalls: list[Stall], closed: threading.Event) -> None:
    clock = time.pthread_getcpuclockid(loops_thread)
    looks: list[_Look] = []
    while not closed.wait(LOOK_EVERY_SECS):
        look = _look(loops_thread, clock)
        if looks and (look is None or look.runs is not looks[-1].runs):
            if len(looks) > 1:
                stalls.append(_stall(looks))
            looks.clear()
        if look is not None:
            looks.append(look)


def _look(loops_thread: int, clock: int) -> _Look | None:
    """What the loop's thread does; None while it is in no callback."""
    # A collection in the midst of it would let the other thread run on, and its frames go away.
    was_on = gc.isenabled()
    gc.disable()
    try:
        frames = _frames(sys._current_frames().get(loops_thread))
    finally:
        if was_on:
            gc.enable()
    runs = next((n for n, frame in enumerate(frames) if _runs_callbacks(frame)), 0)
    if runs == 0:
        return None
    stack = tuple((_name(frame), frame.f_lineno or 0) for frame in frames[:runs])
    # Each callback is run by a frame of its own, a coroutine in many callbacks by one of its own.
    return _Look(frames[runs], stack, time.perf_counter(), time.clock_gettime(clock))


def _frames(frame: FrameType | None) -> list[FrameType]:
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _runs_callbacks(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_name in ("_run", "_run_once") and "/asyncio/" in code.co_filename


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    short = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-2:])
    return f"{short}:{frame.f_code.co_qualname}"


def _stall(looks: list[_Look]) -> Stall:
    longest = secs = 0.0
    for before, look in pairwise(looks):
        waits = look.stack == before.stack and look.at - before.at <= CLOSE_SECS
        secs = secs + look.at - before.at if waits else 0.0
        longest = max(longest, secs)
    return Stall(looks[-1].cpu_secs - looks[0].cpu_secs, longest, looks[-1].stack)
