"""Arrival time of a caller's packet, carried to the model's socket for latency measurement.

    transport_input    came ─┐ stamped                     every 50th packet
    steps                    │ direct mode: the same turn of the event loop
    session.send             └─ taken ── waits ── socket   UplinkShare

The stamp is a context variable, so that steps need not know of it. Behind a step that passes frames
to a task of its own, there is no stamp.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# One packet a second, of the 50 that come.
STAMPED_EVERY = 50


class _Stamp:
    """A time that is taken once."""

    __slots__ = ("came",)

    def __init__(self, came: float) -> None:
        self.came: float | None = came


_STAMP: ContextVar[_Stamp | None] = ContextVar("packet_stamp", default=None)


@contextmanager
def stamped(came: float) -> Iterator[None]:
    """Stamp what is sent to the model within the context with `came`, in seconds."""
    stamp = _Stamp(came)
    token = _STAMP.set(stamp)
    try:
        yield
    finally:
        _STAMP.reset(token)
        stamp.came = None  # a task started meanwhile keeps the context


def take_stamp() -> float | None:
    """The current packet's arrival time, once; None without a stamp, or when it was taken."""
    stamp = _STAMP.get()
    if stamp is None:
        return None
    came, stamp.came = stamp.came, None
    return came
