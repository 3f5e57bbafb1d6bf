"""One bench at a time, over processes."""

import subprocess
import sys
from pathlib import Path

from server.bench.alone import alone

HOLDS = """
import sys
from pathlib import Path
from server.bench.alone import alone
with alone(lambda: print("waits", flush=True), Path(sys.argv[1])):
    print("has it", flush=True)
    sys.stdin.readline()
"""


def test_a_second_one_waits_for_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    words = [sys.executable, "-c", HOLDS, str(lock)]
    with alone(lambda: None, lock):
        second = subprocess.Popen(words, stdin=-1, stdout=-1, text=True)
        assert second.stdin is not None
        assert second.stdout is not None
        assert second.stdout.readline() == "waits\n"
    assert second.stdout.readline() == "has it\n"
    waited: list[None] = []
    second.stdin.write("\n")
    second.stdin.close()
    with alone(lambda: waited.append(None), lock):
        pass
    assert second.wait(10) == 0
    second.stdout.close()
