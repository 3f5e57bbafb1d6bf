"""Garbage-collector policy of a process that serves calls: short pauses, and flat memory.

Imports leave some 240,000 objects. They are frozen, so that no collection scans them again. A call
leaves some 900 objects in reference cycles (Pipecat's processors, queues and event handlers), which
only a full collection frees. With these thresholds it runs after about every ten calls, and scans
only the objects of live calls and recently ended ones.
"""

import gc

# Generation 0 is collected after this many new objects, generation 1 with every sixth of these, and
# everything unfrozen with the next. CPython delays a full collection until the new objects are a
# quarter of those that survived the last one: the more calls, the rarer it is.
YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS = 2_000, 5, 0


def settle() -> None:
    """Collect once, freeze what is left, and set thresholds for small collections.

    Call it once everything is imported, before an event loop serves calls.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # few objects survive this one, so that the next full collection comes early
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
