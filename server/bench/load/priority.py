"""Lets a bench run ahead of everything else on a machine that is not its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class NoPriority(Exception):
    """The system does not allow it."""


@contextmanager
def ahead_of_others(wanted: bool) -> Iterator[None]:
    """What runs here, and every process that is started here, is never kept waiting by others.

    Raises: NoPriority without the right to it (root, or CAP_SYS_NICE).
    """
    if not wanted:
        yield
        return
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, OSError) as problem:
        raise NoPriority(str(problem)) from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def is_ahead() -> bool:
    """Whether this runs ahead of others."""
    return hasattr(os, "SCHED_RR") and os.sched_getscheduler(0) == os.SCHED_RR
