"""Counts the full garbage collections of a Python process, and asks for one, from outside.

The process grows a file by a byte with each; at SIGUSR1 it collects.
"""

import asyncio
import os
import signal
from pathlib import Path

COLLECTS_WITHIN_SECS = 10.0

# Python runs a module of this name when it starts, if it finds one.
_MODULE = "sitecustomize.py"
_COUNTED = "full-collections"
_SOURCE = """\
import gc, os, signal
counted = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def count(phase, info):
    if phase == "stop" and info["generation"] == 2:
        os.write(counted, b".")
gc.callbacks.append(count)
signal.signal(signal.SIGUSR1, lambda number, frame: gc.collect())
"""


def write_probe(folder: Path) -> None:
    """Have every process count that is started with this folder in its PYTHONPATH."""
    source = _SOURCE.format(path=str(folder / _COUNTED))
    (folder / _MODULE).write_text(source, encoding="utf-8")


def full_collections(folder: Path) -> int:
    """How many there were so far."""
    counted = folder / _COUNTED
    return counted.stat().st_size if counted.exists() else 0


async def collect(pid: int, folder: Path) -> bool:
    """Have a process collect all garbage now; whether it did."""
    before = full_collections(folder)
    os.kill(pid, signal.SIGUSR1)
    loop = asyncio.get_running_loop()
    give_up = loop.time() + COLLECTS_WITHIN_SECS
    while full_collections(folder) == before and loop.time() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return full_collections(folder) > before
