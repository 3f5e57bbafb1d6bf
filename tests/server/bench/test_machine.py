"""One bench at a time, over processes; who runs where, and that nobody stays there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.bench.machine import alone, shared_out, staying_on

ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}

HOLDS = """
import sys
from pathlib import Path
from server.bench.machine import alone
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


def test_server_and_load_never_share_a_core() -> None:
    cores = shared_out()
    if len(ALL) < 2:
        assert cores is None
    else:
        assert cores is not None
        assert len(cores.server) == 1
        assert sorted(cores.server + cores.load) == sorted(ALL)


@pytest.mark.parametrize(
    ("there", "workers", "shared"),
    [
        ({0, 1, 2, 3}, 2, ((2, 3), (0, 1))),
        ({0, 1, 5}, 2, ((1, 5), (0,))),
        ({0, 1}, 2, None),
        ({3}, 1, None),
    ],
)
def test_workers_have_a_core_each_and_the_load_what_is_left(
    monkeypatch: pytest.MonkeyPatch, there: set[int], workers: int, shared: tuple[object, object]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: there, raising=False)
    cores = shared_out(workers)
    assert (None if cores is None else (cores.server, cores.load)) == shared


def test_a_system_without_cores_to_choose_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert shared_out() is None


def test_a_process_stays_where_it_was_started_and_who_started_it_does_not() -> None:
    one = (max(ALL),)
    ask = "import os; print(sorted(os.sched_getaffinity(0)))"
    with staying_on(one):
        inside = os.sched_getaffinity(0)
        child = subprocess.check_output([sys.executable, "-c", ask], text=True)
    assert (inside, child.strip()) == (set(one), str(list(one)))
    assert os.sched_getaffinity(0) == ALL
    with staying_on(None):
        assert os.sched_getaffinity(0) == ALL
