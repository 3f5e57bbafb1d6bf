"""What a process spent in a while, and how much of it is more than usual."""

from dataclasses import dataclass
from time import monotonic
from typing import Self

from server.bench.load.processes import cpu_secs


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds, user and system, of all threads, in so many seconds."""

    cpu_secs: float
    secs: float

    @property
    def ms_per_sec(self) -> float:
        """CPU ms a second."""
        return 1000 * self.cpu_secs / self.secs

    def ms_above(self, ms_per_sec: float) -> float:
        """CPU ms that are left when so many a second were taken for something else."""
        return 1000 * self.cpu_secs - ms_per_sec * self.secs


@dataclass(frozen=True, slots=True)
class Meter:
    """`Meter.of(pid)` begins; `spent()` tells what went by since then."""

    pid: int
    cpu_secs: float
    began: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """From now on."""
        return cls(pid, cpu_secs(pid), monotonic())

    def spent(self) -> Spent:
        """Since it began."""
        return Spent(cpu_secs(self.pid) - self.cpu_secs, monotonic() - self.began)
