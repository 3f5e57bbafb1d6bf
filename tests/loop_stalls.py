"""Who blocks the event loop while a test runs: nobody of this system may, for long."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from server.code_places import OURS
from server.loop_pulse import LoopPulse
from server.loop_watchdog import STALL_SECS, LoopWatchdog, Stall

# Twice as often as in production: calls in tests are short.
BEAT_SECS = 0.0025
WAITS_SECS = 0.05
# The sockets of an event loop, which give the interpreter to others while they are written to.
NEVER_WAIT = ("asyncio.", "selectors:", "ssl:SSLObject.")
# What speaks and hears for both vendors computes on the same loop, and is not this system.
NOT_THE_SYSTEM = ("server.emulators",)


@contextmanager
def watched_loop(beat_secs: float = BEAT_SECS) -> Iterator[list[Stall]]:
    """The stalls of the running loop, growing for as long as this lasts."""
    stalls: list[Stall] = []
    pulse = LoopPulse(lambda _: None, every_secs=beat_secs, late_after_secs=STALL_SECS)
    watchdog = LoopWatchdog(pulse, stalls.append)
    watchdog.open()
    pulse.open()
    try:
        yield stalls
    finally:
        watchdog.close()
        pulse.close()


def of_the_system(stalls: list[Stall]) -> list[Stall]:
    """Those that code of this system certainly brought about: 10 ms of computing, or waiting.

    A machine that gives the core to other processes makes none of the first. Of the second it makes
    one here and there: who lets go of the interpreter for a moment may find the core gone, too. So
    a wait counts from its second time on, and not where sockets are used that never wait.
    """
    ours = [
        stall
        for stall in stalls
        if stall.looks > 1
        and stall.place.split(":")[0].split(".")[0] in OURS
        and not stall.place.startswith(NOT_THE_SYSTEM)
    ]
    waits = [stall for stall in ours if stall.waited_secs >= WAITS_SECS and not _never_waits(stall)]
    times = Counter(stall.place for stall in waits)
    return [
        stall
        for stall in ours
        if stall.computed_secs >= STALL_SECS or (stall in waits and times[stall.place] > 1)
    ]


def _never_waits(stall: Stall) -> bool:
    return bool(stall.stack) and stall.stack[0].name.startswith(NEVER_WAIT)
