"""What is read of a process from outside: CPU time and memory."""

import os
import signal
import subprocess
import sys
import time

import pytest

from server.bench.load.processes import busy_secs, cpu_secs, resident_mb


def test_the_time_of_a_process_is_what_it_says_itself() -> None:
    before = cpu_secs(os.getpid())
    own = os.times()
    while sum(os.times()[:2]) - sum(own[:2]) < 0.05:
        sum(range(10_000))
    assert cpu_secs(os.getpid()) - before == pytest.approx(0.05, abs=0.03)


def test_a_process_costs_what_its_children_do() -> None:
    code = (
        "import subprocess, sys\n"
        "busy = 'while True: sum(range(10_000))'\n"
        "subprocess.run([sys.executable, '-c', busy])"
    )
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as parent:
        try:
            deadline = time.monotonic() + 20
            while cpu_secs(parent.pid) < 1:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_memory_is_what_a_process_touches() -> None:
    before = resident_mb(os.getpid())
    taken = b"\x01" * 30_000_000
    assert resident_mb(os.getpid()) - before == pytest.approx(30, abs=5)
    del taken


def test_a_core_is_busy_with_what_runs_on_it() -> None:
    cores = sorted(os.sched_getaffinity(0))
    before, own = busy_secs(cores), sum(os.times()[:2])
    while sum(os.times()[:2]) - own < 0.2:
        sum(range(10_000))
    assert busy_secs(cores) - before > 0.15
    assert busy_secs([]) == 0.0
