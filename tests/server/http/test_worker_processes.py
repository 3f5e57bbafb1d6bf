"""WorkerProcesses: what becomes of workers that end, in a process of their own."""

import subprocess
import sys
from pathlib import Path

# Worker 1 ends after its first start, cannot start four times, and starts then.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from server.http import worker_processes
from server.http.worker_processes import WorkerProcesses

worker_processes.LONGEST_PAUSE_SECS = 0.01
starts, may_end = Path(sys.argv[1]), Path(sys.argv[2])

def serve(number, ready):
    if number == 0:
        ready()
        signal.pause()
    with starts.open("a") as file:
        file.write(".")
    started = len(starts.read_text())
    if started in (1, 6):
        ready()
        if started == 6:
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()
        while not may_end.exists():
            pass
    return 3

workers = WorkerProcesses(2, serve, announce=may_end.touch)
code = workers.run()
print(code, workers.failure)
"""


def test_a_worker_that_cannot_start_again_ends_none_of_those_that_serve(tmp_path: Path) -> None:
    """What it needs may come back, and the others carry calls."""
    arguments = str(tmp_path / "starts"), str(tmp_path / "may_end")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout.strip(), len((tmp_path / "starts").read_text())) == ("0 None", 6), ran.stderr
