"""Garbage-collector policy of a process that serves calls: short pauses, and flat memory.

The imports leave some 240,000 objects. They are frozen: no collection looks at them again. A call
leaves some 900 objects in reference cycles (Pipecat's processors, queues and event handlers), old
ones by then, which only a full collection finds. It comes after every ten calls or so, and looks at
what live calls hold and at what the ended ones left.
"""

import gc

# The youngest objects are collected after this many new ones, the middle-aged with every sixth of
# these, and all that is not frozen with the next. CPython puts the last off until what is new is a
# quarter of what it found last time: the more calls there are, the rarer it is.
YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS = 2_000, 5, 0


def settle() -> None:
    """Collect once, freeze what is left, and collect in small steps from now on.

    Call it once everything is imported, before an event loop serves calls.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # it has found next to nothing now: the first of the next ones comes early, too
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
