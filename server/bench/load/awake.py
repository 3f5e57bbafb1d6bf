"""Keeps the server's core awake: a process that computes nothing there, and gives way to others.

A core that sleeps between two calls wakes slowly, and on a virtual machine it finds its caches
full of what the machine's neighbours have left there.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from server.bench.cores import Cores, staying_on

# It ends with whoever holds the other end of its standard input, however that one ends.
_SPINS = """\
import os, threading
threading.Thread(target=lambda: os._exit(len(os.read(0, 1)))).start()
while True: pass
"""


class NotAwake(Exception):
    """The core cannot be kept awake here."""


@contextmanager
def kept_awake(cores: Cores | None, wanted: bool = True) -> Iterator[None]:
    """The server's core does not sleep meanwhile.

    Raises: NotAwake when the server has no core of its own, or the system cannot run something
    that gives way to others (Linux can: SCHED_IDLE, sched(7)).
    """
    if not wanted:
        yield
        return
    if cores is None:
        raise NotAwake("the server has no core of its own")
    if not hasattr(os, "SCHED_IDLE"):
        raise NotAwake("this system has no SCHED_IDLE")
    # In this session: Linux may share a core out among sessions first (autogroup, sched(7)), and
    # only within one does it give way.
    with staying_on(cores.server):
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", "-c", _SPINS],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    try:
        try:
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        except OSError as problem:
            raise NotAwake(str(problem)) from None
        yield
    finally:
        process.kill()
        process.communicate()
