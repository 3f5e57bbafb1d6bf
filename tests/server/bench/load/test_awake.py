"""Who keeps a core awake: there, giving way, and gone when it is no longer wanted."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.bench.cores import Cores
from server.bench.load.awake import NotAwake, kept_awake
from server.bench.load.processes import cpu_secs

CORE = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
CORES = Cores(frozenset({CORE}), frozenset({CORE}))
TASKS = Path("/proc/self/task")

pytestmark = pytest.mark.timeout(30)


def children(pid: int | None = None) -> set[int]:
    """Processes that this one, or another, has started and not waited for."""
    tasks = TASKS if pid is None else Path(f"/proc/{pid}/task")
    return {
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    }


@pytest.fixture
def who() -> Iterator[int]:
    """Whoever keeps the core awake."""
    before = children()
    with kept_awake(CORES):
        (one,) = children() - before
        yield one
    assert one not in children()


def test_it_runs_on_the_servers_core_and_gives_way(who: int) -> None:
    assert os.sched_getaffinity(who) == {CORE}
    assert os.sched_getscheduler(who) == os.SCHED_IDLE


def test_it_is_never_done(who: int) -> None:
    before = cpu_secs(who)
    while cpu_secs(who) < before + 0.05:
        os.sched_yield()
    assert who in children(), "it is there, and goes on"


def test_it_ends_with_a_bench_that_is_killed() -> None:
    code = (
        "import os, sys\n"
        "from server.bench.cores import Cores\n"
        "from server.bench.load.awake import kept_awake\n"
        f"with kept_awake(Cores(frozenset({{{CORE}}}), frozenset())):\n"
        "    print(1, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert bench.stdout is not None
    bench.stdout.readline()
    (spins,) = children(bench.pid)
    ended = os.pidfd_open(spins)
    try:
        bench.kill()
        bench.communicate()
        assert select.select([ended], [], [], 20) == ([ended], [], [])
    finally:
        os.close(ended)


def test_nothing_runs_when_it_is_not_wanted() -> None:
    before = children()
    with kept_awake(CORES, wanted=False):
        assert children() == before


def test_a_server_without_a_core_of_its_own_is_not_kept_awake() -> None:
    with pytest.raises(NotAwake, match="no core of its own"), kept_awake(None):
        pass


def test_a_system_that_lets_nothing_give_way_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SCHED_IDLE")
    with pytest.raises(NotAwake, match="no SCHED_IDLE"), kept_awake(CORES):
        pass


def test_a_refusal_of_the_system_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, policy: int, param: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    before = children()
    with pytest.raises(NotAwake, match="Operation not permitted"), kept_awake(CORES):
        pass
    assert children() == before
