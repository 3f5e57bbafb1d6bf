"""Keeps the measured server and the load generator off each other's core, where there are two."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    server: tuple[int, ...]
    load: tuple[int, ...]


def shared_out(servers: int = 1) -> Cores | None:
    """So many cores for the server, the others for the load; None where that cannot be done."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    there = tuple(sorted(os.sched_getaffinity(0)))
    return Cores(there[-servers:], there[:-servers]) if len(there) > servers else None


@contextmanager
def staying_on(cores: tuple[int, ...] | None) -> Iterator[None]:
    """This thread runs on these cores, and so does what it starts: a process keeps them for life.

    None: on any, as before.
    """
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
