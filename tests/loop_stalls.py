"""Who blocks the event loop while a test runs: nobody of this system may, for long."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.code_places import OURS
from server.loop_pulse import LoopPulse
from server.loop_watchdog import STALL_SECS, LoopWatchdog, Stall

# Twice as often as in production: calls in tests are short.
BEAT_SECS = 0.0025
WAITS_SECS = 0.05
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
    """Those that code of this system certainly brought about: 10 ms of computing, or long waiting.

    A machine that gives the core to other processes makes none of the first, and hardly one of the
    second: who lets go of the interpreter for a moment may find the core gone, too.
    """
    return [
        stall
        for stall in stalls
        if stall.looks > 1
        and (stall.computed_secs >= STALL_SECS or stall.waited_secs >= WAITS_SECS)
        and stall.place.split(":")[0].split(".")[0] in OURS
        and not stall.place.startswith(NOT_THE_SYSTEM)
    ]
