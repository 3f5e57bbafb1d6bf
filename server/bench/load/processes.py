"""What a process and its children cost: CPU time and resident memory, read from outside."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
# The clock of a process's CPU time, as clock_getcpuclockid(3) makes its id.
_CPU_CLOCK = 2
# proc_stat(5): user, nice, system, (idle, iowait,) irq, softirq, steal.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)


def cpu_secs(pid: int) -> float:
    """User and system time of a running process so far: all threads, and children that run."""
    return sum(time.clock_gettime((~one << 3) | _CPU_CLOCK) for one in _family(pid))


def resident_mb(pid: int) -> float:
    """Memory that a running process and its children hold, in MB (10^6 bytes).

    What they share counts for each.
    """
    sizes = (Path(f"/proc/{one}/statm").read_text().split() for one in _family(pid))
    return sum(int(pages[1]) for pages in sizes) * _PAGE_BYTES / 1e6


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def busy_secs(cores: Iterable[int]) -> float:
    """How long these cores were busy since the machine started, whoever kept them so."""
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    names = {f"cpu{core}" for core in cores}
    return (
        sum(sum(int(line[field]) for field in _BUSY_FIELDS) for line in lines if line[0] in names)
        / _TICKS
    )
