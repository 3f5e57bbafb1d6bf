"""When a packet of the caller's came, carried along its way to the model: a sample, not each one.

    transport_input    came ─┐ stamped                     every 50th packet
    steps               │ direct mode: the same turn of the event loop
    session.send        └─ taken ── waits ── socket   UplinkShare

The stamp lives in the context of the task that carries the packet, so a step knows nothing of it.
Behind a step that hands its frames to a task of its own there is no stamp, and no wrong one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# One packet a second, of the 50 that come.
STAMPED_EVERY = 50


class _Stamp:
    """A moment that is taken once."""

    __slots__ = ("came",)

    def __init__(self, came: float) -> None:
        self.came: float | None = came


_STAMP: ContextVar[_Stamp | None] = ContextVar("packet_stamp", default=None)


@contextmanager
def stamped(came: float) -> Iterator[None]:
    """What is sent to the model within came at `came`, in seconds of the loop's clock."""
    stamp = _Stamp(came)
    token = _STAMP.set(stamp)
    try:
        yield
    finally:
        _STAMP.reset(token)
        stamp.came = None  # a task that was begun meanwhile keeps the context


def take_stamp() -> float | None:
    """When the packet came that is under way here; None when it has no stamp, or was asked for."""
    stamp = _STAMP.get()
    if stamp is None:
        return None
    came, stamp.came = stamp.came, None
    return came
