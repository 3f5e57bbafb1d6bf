"""Garbage-collector policy of a process that serves calls: short pauses, and flat memory.

Imports leave some 240,000 objects. They are frozen, so that no collection scans them again. A call
leaves some 900 objects in reference cycles (Pipecat's processors, queues and event handlers), which
only a full collection frees. That scans the objects of all live calls, while all of them wait, so
it runs when there is none, and where there always is one after some tens of calls:

    calls        ▁▁███████▁▁▁▁▁▁▁▁██████████████ … █████████
    collections  yyyyyyyyyyyy  F      yyyyyyyyyy … yyyyFyyyy       y: young, F: full
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable

# Generation 0 is collected after this many new objects, generation 1 with every sixth of these, and
# everything unfrozen with every fifth of those, if the new objects are then a quarter of
# those that survived the last full collection.
YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS = 2_000, 5, 4
# How often it is seen whether there is a call.
_LOOKED_EVERY_SECS = 10.0


def settle() -> None:
    """Collect once, freeze what is left, and set thresholds for small collections.

    Call it once everything is imported, before an event loop serves calls.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # few objects survive this one, so that the next full collection comes early
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)


@contextlib.asynccontextmanager
async def collected_when_idle(calls: Callable[[], int]) -> AsyncIterator[None]:
    """Collect everything whenever there are no `calls` and there is something to collect.

    In a process that was settled: a full collection takes long in any other.
    """
    if not gc.get_freeze_count():
        yield
        return
    collecting = asyncio.create_task(_collect_when_idle(calls), name="garbage")
    try:
        yield
    finally:
        collecting.cancel()


async def _collect_when_idle(calls: Callable[[], int]) -> None:
    while True:
        await asyncio.sleep(_LOOKED_EVERY_SECS)
        _, middle, old = gc.get_count()
        # Hardly anything was made since the last one, where no generation was collected.
        if calls() == 0 and (middle or old):
            gc.collect()
