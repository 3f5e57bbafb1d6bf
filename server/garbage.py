"""The garbage collector, set for a process that serves calls.

The imports leave some 240,000 objects, which each full collection looks through again, while every
call waits: they are moved out of its sight. What calls leave in cycles is little. So the collector
looks at what is young by itself, and at all there is only when there is no call that would wait.

    calls     ▁▁███████▁▁▁▁▁▁▁▁▁▁█▁▁▁▁
    looks     yyyyyyyyyyyy  F      yyy F       y: young, F: full
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator

# After so many new objects the youngest are looked at, after so many of these looks the middle-aged
# too, and never all there is: each look stays within some milliseconds.
YOUNG_OBJECTS, YOUNG_LOOKS, NEVER = 2_000, 5, 1_000_000_000
# How often it is seen whether there is a call.
LOOKED_EVERY_SECS = 10.0


def settle() -> None:
    """Collect once, keep what is left for good, and collect in small steps from now on.

    For the moment at which everything is imported, and no event loop waits for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOOKS, NEVER)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing meanwhile: for who walks through the frames of another thread.

    Each step makes an object, and a collection that begins there may let the other thread run on:
    the frame that the step is about is gone then, and CPython 3.11 crashes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.asynccontextmanager
async def collected_when_idle(
    calls: Callable[[], int], *, every_secs: float = LOOKED_EVERY_SECS
) -> AsyncIterator[None]:
    """Collect everything whenever there were calls and there are none, for as long as this lasts.

    Only in a process that was settled; any other collects by itself.
    """
    if gc.get_threshold()[2] != NEVER:
        yield
        return
    looking = asyncio.create_task(_look(calls, every_secs), name="garbage")
    try:
        yield
    finally:
        looking.cancel()


async def _look(calls: Callable[[], int], every_secs: float) -> None:
    young_looks = 0
    while True:
        await asyncio.sleep(every_secs)
        looks = gc.get_stats()[0]["collections"]
        # No look at the young means that next to nothing was made, and so nothing was left.
        if calls() == 0 and looks != young_looks:
            gc.collect()
            young_looks = gc.get_stats()[0]["collections"]
