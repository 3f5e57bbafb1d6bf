"""Measures event-loop lag, and logs the stack when the loop is blocked for over 100 ms.

A timer beats in the loop. When a beat is late, a thread has faulthandler dump the stack of the
loop's thread:

    beats      |    |    |....................|    |       every 50 ms
    thread               └────────▶ dump      read, logged  100 ms after a beat

The dump is made while the thread holds the interpreter: `faulthandler.dump_traceback_later`, which
does not, reads frames that may be gone and crashes CPython 3.11.

In development, the first seconds, in which much is imported, are measured and not logged, and the
line has one frame: the innermost of the product's code or of the user's.
"""

import asyncio
import faulthandler
import os
import re
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from loguru import logger

from agent.loop_load import BEAT_SECS

# A longer block may be heard as a gap, unless Twilio has audio queued.
STALL_SECS = 0.1
# A loop that is blocked again and again should not log more often.
LOGGED_EVERY_SECS = 10.0
# In development: a server imports and compiles until then.
STARTS_SECS = 10.0
_FRAMES_LOGGED = 8
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
# Path, line and function.
_Frame = tuple[str, str, str]
_LIBRARIES = re.compile(
    rf"<|{re.escape(sysconfig.get_paths()['stdlib'])}/(?!site-packages/)"
    r"|.*/site-packages/(?!(agent|pipelines|processors|server)/)"
)


@contextmanager
def measured_loop_lag(
    *observe: Callable[[float], None], development: bool = False
) -> Iterator[None]:
    """Measure the running loop while the context is open.

    Each `observe` is called with the lateness of each beat, in seconds.
    """
    lag = LoopLag(observe, development=development)
    lag.open()
    try:
        yield
    finally:
        lag.close()


class LoopLag:
    """The timer that beats, and the thread that watches it. Uses real time, also on a loop with
    virtual time."""

    def __init__(
        self, observe: Sequence[Callable[[float], None]], *, development: bool = False
    ) -> None:
        self._observe = observe
        self._stack_of = one_frame_of if development else stack_of
        self._logs_from = time.monotonic() + (STARTS_SECS if development else 0.0)
        self._dump = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (open until `close`)
        self._loop = asyncio.get_running_loop()
        self._loops_thread = threading.get_ident()
        self._beat_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="loop-lag", daemon=True)
        self._logged_at = float("-inf")
        self._unlogged = 0

    def open(self) -> None:
        """Start on the running loop."""
        self._beat_later()
        self._watching.start()

    def close(self) -> None:
        """Stop timer and thread."""
        if self._timer is not None:
            self._timer.cancel()
        self._closed.set()
        self._watching.join()
        self._dump.close()

    def _beat_later(self) -> None:
        self._beat_at = time.perf_counter()
        self._timer = self._loop.call_later(BEAT_SECS, self._beat)

    def _beat(self) -> None:
        late_secs = max(0.0, time.perf_counter() - self._beat_at - BEAT_SECS)
        for observe in self._observe:
            observe(late_secs)
        self._beat_later()
        if self._dump.seek(0, os.SEEK_END):
            self._report(late_secs, self._take_dump())

    def _watch(self) -> None:
        dumped = 0.0
        while True:
            beat = self._beat_at
            wait_secs = BEAT_SECS if beat == dumped else beat + STALL_SECS - time.perf_counter()
            if self._closed.wait(max(0.0, wait_secs)):
                return
            if self._beat_at == beat != dumped:
                faulthandler.dump_traceback(self._dump)
                dumped = beat

    def _take_dump(self) -> str:
        self._dump.seek(0)
        dump = self._dump.read().decode(errors="replace")
        self._dump.seek(0)
        self._dump.truncate()
        return dump

    def _report(self, late_secs: float, dump: str) -> None:
        now = time.monotonic()
        if now < self._logs_from:
            return
        if now - self._logged_at < LOGGED_EVERY_SECS:
            self._unlogged += 1
            return
        logger.warning(
            "The event loop was blocked",
            late_ms=round(late_secs * 1000),
            stack=self._stack_of(dump, self._loops_thread),
            unlogged=self._unlogged,
        )
        self._logged_at, self._unlogged = now, 0


def stack_of(dump: str, thread: int) -> str:
    """The innermost frames of one thread in a dump of faulthandler's, innermost first."""
    return " < ".join(map(_shown, _frames(dump, thread)[:_FRAMES_LOGGED]))


def one_frame_of(dump: str, thread: int) -> str:
    """The innermost frame that is in no library; the innermost one when all are."""
    frames = _frames(dump, thread)
    own = [frame for frame in frames if not _LIBRARIES.match(frame[0])]
    return _shown((own or frames)[0]) if frames else ""


def _frames(dump: str, thread: int) -> list[_Frame]:
    for section in re.split(r"^(?=Thread |Current thread )", dump, flags=re.MULTILINE):
        if f"hread 0x{thread:016x}" in section:
            return _FRAME.findall(section)
    return []


def _shown(frame: _Frame) -> str:
    path, line, name = frame
    return f"{name} ({path}:{line})"
