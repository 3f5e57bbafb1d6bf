"""The garbage collector, set for a process that serves calls.

The imports leave some 240,000 objects, which each full collection looks through again, while every
call waits: they are moved out of its sight. What calls leave in cycles is little. So it looks at
what is young, little at a time, and rarely at all there is.
"""

import gc

# After so many new objects the youngest are looked at, after so many of these looks the middle-aged
# too, and after so many of those all: each look stays within some milliseconds.
YOUNG_OBJECTS, YOUNG_LOOKS, MIDDLE_LOOKS = 2_000, 5, 200


def settle() -> None:
    """Collect once, keep what is left for good, and collect in small steps from now on.

    For the moment at which everything is imported, and no event loop waits for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOOKS, MIDDLE_LOOKS)
