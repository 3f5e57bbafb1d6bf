"""The bench itself, run as a person runs it: real processes, real sockets, real time.

What is asserted is that nothing is lost and who takes more; what anything takes is the machine's
affair.
"""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.bench import alone
from server.bench.cores import shared_out
from server.bench.load.awake import NotAwake
from server.bench.load.contestants import Contestant
from server.bench.load.priority import NoPriority, ahead_of_others
from server.bench.load.set_up import measure_set_up
from server.bench.load.set_up_beside import MOST_A_ROUND, in_rounds, measure_set_up_beside
from server.bench.load.set_up_cost import SetUpOptions
from server.bench.load.soak import Sample, SoakOptions, run_soak
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.cli.main import app
from server.demo.stage import StageError

CALLS, SECS = 3, 2
SYSTEMS = ("--system", "bridge", "--system", "ours")
WORDS = ["bench", "load", "--calls", str(CALLS), "--secs", str(SECS), "--no-warm-up", *SYSTEMS]


Told = tuple[Result, dict[str, dict[str, Any]]]
pytestmark = pytest.mark.timeout(300)


def may_go_ahead() -> bool:
    """Whether this user may run processes ahead of all others."""
    with suppress(NoPriority), ahead_of_others(True):
        return True
    return False


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One run of ours and the bridge, and what it told of each."""
    folder: Path = tmp_path_factory.mktemp("bench")
    file = folder / "new folder" / "load.json"
    # Ahead of what the machine does meanwhile, where that may be: other tests make gaps, too.
    first = ["--priority"] if may_go_ahead() else []
    with pytest.MonkeyPatch.context() as patch:
        # A bench that somebody runs beside the tests is not waited for.
        patch.setattr(alone, "LOCK", folder / "lock")
        result = CliRunner().invoke(app, [*WORDS, *first, "--json", str(file)])
    loads = json.loads(file.read_text(encoding="utf-8"))["loads"]
    return result, {one["contestant"]: one for one in loads}


def test_every_call_goes_as_it_should(run: Told) -> None:
    result, loads = run
    assert {name: one["problems"] for name, one in loads.items()} == {"bridge": [], "ours": []}
    assert result.exit_code == 0, result.output
    assert f"{CALLS} bridge" in result.output
    assert f"{CALLS} ours" in result.output


def test_nothing_is_lost_either_way(run: Told) -> None:
    for one in run[1].values():
        for way in (one["up"], one["down"]):
            # Every 460 or 480 ms one, of each call.
            assert way["ms"]["count"] >= CALLS * 3
            assert (way["lost"], way["strange"], way["missing_ms"]) == (0, 0, 0)
        assert [call["up"]["ms"] is not None for call in one["each"]] == [True] * CALLS


def test_the_phone_hears_no_gap_without_a_buffer(run: Told) -> None:
    assert {name: one["gaps"] for name, one in run[1].items()} == {"bridge": 0, "ours": 0}


def test_costs_are_measured_and_compared(run: Told) -> None:
    ours, bridge = run[1]["ours"], run[1]["bridge"]
    assert bridge["cpu_ratio_to_bridge"] is None
    ratio = ours["cpu_per_call_minute"] / bridge["cpu_per_call_minute"]
    assert ours["cpu_ratio_to_bridge"] == pytest.approx(ratio)
    # It keeps records and measures; it is no other order of magnitude.
    assert ratio < 6
    assert ours["cost"]["loop_lag_ms"] is not None
    assert bridge["cost"]["loop_lag_ms"] is None
    print(f"CPU of ours / of the bridge: {ratio:.2f}")


async def test_a_soak_has_each_call_and_tells_of_memory() -> None:
    told: list[Sample] = []
    # A reply takes two seconds, and in the second one it says nothing.
    options = SoakOptions(calls=4, at_once=2, talk_secs=0.3, steady_secs=2.5, leave_secs=0)
    soak = await run_soak(Contestant.BRIDGE, options, tell=told.append)
    assert soak.went_wrong == []
    assert [one.calls for one in soak.samples] == [1, 2, 3, 4, 4]
    assert told == soak.samples
    assert soak.collected_mb is not None
    assert all(20 < one.resident_mb < 1_000 for one in soak.samples)
    # A growing server would be seen: a call's session and streams take more than this.
    assert abs(soak.samples[-1].resident_mb - soak.samples[0].resident_mb) < 20


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--calls", "1,many"], "numbers with commas"),
        (["--calls", "0"], "at least one call"),
        (["--setting", "=on"], "NAME=VALUE"),
        (["--setting", "RECORDINGS"], "NAME=VALUE"),
        (["--beside", "20"], "only with --set-up"),
        (["--awake"], "only with --set-up"),
        (["--awake", "--soak", "10"], "only with --set-up"),
        (["--system", "theirs"], "there are ours, plain, bridge"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["bench", "load", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert says in result.output


async def test_a_set_up_is_the_first_sound_and_what_is_left_to_do_then() -> None:
    options = SetUpOptions(calls=2, warm_up=1, windows_before=2, calls_a_window=2, quiet_secs=0.3)
    ours = await measure_set_up(Contestant.OURS, options)
    bridge = await measure_set_up(Contestant.BRIDGE, options)
    for cost in (ours, bridge):
        assert cost.went_wrong == []
        assert cost.first_sound_cpu_ms is not None
        assert cost.setup_cpu_ms is not None
        assert cost.first_sound_cpu_ms.count == cost.setup_cpu_ms.count == options.calls
        assert cost.first_sound_cpu_ms.p50 > 0
        # Two before the calls, and one behind the second.
        assert len(cost.idle_each_ms_per_sec) == 3
        assert not cost.awake
    # A record, a REST client, webhooks and a pipeline are not for nothing.
    assert ours.setup_cpu_ms is not None
    assert bridge.setup_cpu_ms is not None
    assert ours.setup_cpu_ms.p50 > bridge.setup_cpu_ms.p50


async def test_a_set_up_beside_others_is_what_they_do_not_take() -> None:
    options = SetUpOptions(calls=6, warm_up=0, quiet_secs=0.3)
    ours = await measure_set_up_beside(Contestant.OURS, options, 2)
    assert ours.went_wrong == []
    assert ours.beside == 2
    assert ours.setup_cpu_ms is not None
    assert ours.setup_cpu_ms.p50 > 0
    # Before the round and behind it.
    assert len(ours.idle_each_ms_per_sec) == 2
    assert ours.idle_ms_per_sec > 0


@pytest.mark.parametrize("calls", [1, 31, 32, 33, 64, 100, 1000])
def test_no_round_is_a_small_rest(calls: int) -> None:
    rounds = in_rounds(calls)
    assert sum(rounds) == calls
    assert len(rounds) == -(-calls // MOST_A_ROUND)
    assert max(rounds) - min(rounds) <= 1


def test_a_core_that_cannot_be_kept_awake_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "LOCK", tmp_path / "lock")
    words = ["--set-up", "1", "--system", "bridge", "--awake", "--no-pin"]
    result = CliRunner().invoke(app, ["bench", "load", *words])
    assert result.exit_code == 1
    assert "--awake: the server has no core of its own.\n" in result.output


async def test_a_set_up_on_a_core_that_is_kept_awake_is_told_as_that() -> None:
    options = SetUpOptions(calls=1, warm_up=0, windows_before=1, quiet_secs=0.3, awake=True)
    if shared_out() is None:
        with pytest.raises(NotAwake, match="no core of its own"):
            await measure_set_up(Contestant.BRIDGE, options)
        return
    cost = await measure_set_up(Contestant.BRIDGE, options)
    assert cost.went_wrong == []
    assert cost.awake
    # What spins there is no part of the server.
    assert cost.idle_ms_per_sec < 500


async def place_on(stage: LoadStage) -> None:
    while True:
        await stage.place()
        await asyncio.sleep(0.01)


async def test_a_server_that_dies_under_load_is_said_with_its_last_words() -> None:
    async with on_stage(
        Contestant.BRIDGE, LoadOptions(secs=1, warm_up=False), None, at_once=1
    ) as stage:
        os.kill(stage.pid, signal.SIGKILL)
        with pytest.raises(StageError, match="bare bridge ended under load"):
            await place_on(stage)
