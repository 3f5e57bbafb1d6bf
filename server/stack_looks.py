"""What several looks at a thread's stack say together: which callback it was, and for how long.

looks      a  a  a  b        callback a, from its first look to its last
looks      a  b  c  d        many, and none of them for long
looks         [kept off]a    a, which held the interpreter for all that time
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType

from server.code_places import Stack

# Looks that are farther apart do not show that a thread waited between them.
CLOSE_SECS = 0.006
# Code in Python lets another thread look after 5 ms. Who computed for longer did so in C.
KEPT_OFF_SECS = 0.009


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a thread's stack, at the moment `at` and after `cpu_secs` of its computing.

    `callback` is the outermost frame: as long as it is the same object, it is the same callback.
    The look came `kept_off_secs` later than it was meant to; `meanwhile_cpu_secs`: what the thread
    computed from when the look was asked for.
    """

    callback: FrameType
    stack: Stack
    at: float
    cpu_secs: float
    kept_off_secs: float
    meanwhile_cpu_secs: float

    @property
    def held_secs(self) -> float:
        """For how long the thread kept the look off by computing; 0 when it did not."""
        computed_secs = min(self.kept_off_secs, self.meanwhile_cpu_secs)
        return computed_secs if computed_secs >= KEPT_OFF_SECS else 0.0


def blamed(looks: Sequence[Look]) -> list[Look]:
    """The looks that found the one callback which is to blame; none when there is no such one."""
    for callback in {id(look.callback): look.callback for look in looks}.values():
        seen = [look for look in looks if look.callback is callback]
        sure = len(seen) > 1 or seen[0].held_secs > 0
        if sure and 2 * len(seen) > len(looks):
            return seen
    return []


def computed_secs(looks: Sequence[Look]) -> float:
    """What one callback has computed.

    From two looks on that is certain, and may be more. Of one look that was kept off it is likely:
    on a machine that has no core for the thread that looks, it was others before.
    """
    if len(looks) == 1:
        return looks[0].held_secs
    return looks[-1].cpu_secs - looks[0].cpu_secs if looks else 0.0


def waited_secs(looks: Sequence[Look]) -> float:
    """The longest time over which one look after the other found the same lines.

    It waits there for something; or for the core, in code that does not hold the interpreter.
    """
    longest = secs = 0.0
    for before, look in pairwise(looks):
        apart_secs = look.at - before.at
        waits = look.stack == before.stack and apart_secs <= CLOSE_SECS
        secs = secs + apart_secs if waits else 0.0
        longest = max(longest, secs)
    return longest
