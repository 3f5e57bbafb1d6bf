"""Says who blocks the event loop: a thread looks at the loop's stack while a beat is overdue.

    pulse    |    |    |.......................|    |
    loop     · ·· ·  · ·[ one long callback   ]· ·· ·
    thread                   ?  ?  ?  ?  ?  ?  ✓         ? what is on the stack, every 2 ms

A beat is overdue when something took long. It is one callback's doing when most looks found that
very callback; otherwise many small ones were in line, and nobody is to blame. A thread has to hold
the interpreter to look. Who keeps it from that, in C code that lets go only at its end, is found
there by the look that had to wait. The garbage collector tells of itself.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.code_places import Stack, frames_within, stack_of, who
from server.garbage import uncollected
from server.loop_pulse import LateBeat, LoopPulse
from server.stack_looks import CLOSE_SECS, Look, blamed, computed_secs, waited_secs

# A stall that lasts longer than both together is always seen; a shorter one when it is met.
BEAT_SECS = 0.005
STALL_SECS = 0.01
# An overdue beat is looked into from here on.
_SUSPECT_SECS = 0.002
_LOOK_EVERY_SECS = CLOSE_SECS / 3
# The thread sleeps no longer than this, whatever the pulse says.
_SLEEP_SECS = 0.1

# Names of places that are no function.
GARBAGE_COLLECTION = "gc"
MANY_CALLBACKS = "many"
UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Stall:
    """The loop did not turn for `secs`; `place` says who did it.

    For `computed_secs` of it that place computed, and for `waited_secs` it was seen at one line;
    what is in neither may be the machine's doing, which gave the core to another process. They are
    certain from two `looks` on, and likely before. `stack` is empty when no callback alone is to
    blame.
    """

    place: str
    secs: float
    computed_secs: float = 0.0
    waited_secs: float = 0.0
    stack: Stack = ()
    looks: int = 0


class LoopWatchdog:
    """Calls `tell`, in a thread of its own, for each stall of the loop that `pulse` beats on."""

    def __init__(self, pulse: LoopPulse, tell: Callable[[Stall], None]) -> None:
        self._pulse = pulse
        self._tell = tell
        self._loops_thread = 0
        self._loops_cpu: Callable[[], float] = time.perf_counter
        self._thread: threading.Thread | None = None
        # Held from `open` to `close`: who waits for it sleeps, and wakes at once at the end.
        self._open = threading.Lock()
        # What was seen while one beat was overdue, and which beat.
        self._looks: list[Look] = []
        self._looked_for = -1
        self._collecting_since = 0.0
        # What the collector took, ever: up to now, and up to the last beat that was late.
        self._collected_secs = 0.0
        self._collected_before_secs = 0.0

    def open(self) -> None:
        """Begin to watch the loop of the thread that calls this."""
        self._loops_thread = threading.get_ident()
        self._loops_cpu = _cpu_clock(self._loops_thread)
        self._open.acquire()
        gc.callbacks.append(self._collecting)
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        if self._thread is None:
            return
        gc.callbacks.remove(self._collecting)
        self._open.release()
        self._thread.join()
        self._thread = None

    def _watch(self) -> None:
        pulse = self._pulse
        while True:
            now, cpu = time.perf_counter(), self._loops_cpu()
            overdue_in_secs = pulse.due + _SUSPECT_SECS - now
            sleep_secs = max(_LOOK_EVERY_SECS, min(overdue_in_secs, _SLEEP_SECS))
            if self._open.acquire(timeout=sleep_secs):
                self._open.release()
                return
            number = pulse.number
            while pulse.late:
                self._judge(pulse.late.popleft())
            if number != self._looked_for:
                self._looks.clear()
                self._looked_for = number
            woke = time.perf_counter()
            if woke >= pulse.due + _SUSPECT_SECS:
                self._look(woke, woke - now - sleep_secs, self._loops_cpu() - cpu)

    def _look(self, now: float, kept_off_secs: float, meanwhile_cpu_secs: float) -> None:
        with uncollected():
            frame = sys._current_frames().get(self._loops_thread)
            if frame is not None and frame.f_code is LoopWatchdog._collecting.__code__:
                frame = frame.f_back
            frames = frames_within(frame, self._pulse.depth)
        if frames:
            stack, cpu = stack_of(frames), self._loops_cpu()
            self._looks.append(Look(frames[-1], stack, now, cpu, kept_off_secs, meanwhile_cpu_secs))

    def _judge(self, beat: LateBeat) -> None:
        collected_secs = self._collected_secs - self._collected_before_secs
        self._collected_before_secs = self._collected_secs
        looks = self._looks if beat.number == self._looked_for else []
        secs = beat.late_secs
        if collected_secs > secs / 2:
            stall = Stall(GARBAGE_COLLECTION, secs, min(secs, collected_secs))
        elif culprit := blamed(looks):
            stack = culprit[-1].stack
            computed = min(secs, computed_secs(culprit))
            waited = min(secs, waited_secs(culprit))
            stall = Stall(who(stack), secs, computed, waited, stack, len(culprit))
        else:
            stall = Stall(MANY_CALLBACKS if len(looks) > 1 else UNCLEAR, secs)
        self._tell(stall)

    def _collecting(self, phase: str, _: dict[str, Any]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting_since = now
        else:
            self._collected_secs += now - self._collecting_since


def _cpu_clock(thread_id: int) -> Callable[[], float]:
    """What a thread has computed so far, in seconds; the time of day where that is not told."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.perf_counter
    clock = time.pthread_getcpuclockid(thread_id)
    return lambda: time.clock_gettime(clock)
