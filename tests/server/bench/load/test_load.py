"""The bench itself, run as a person runs it: real processes, real sockets, real time.

One run of the bare bridge serves most tests. What is asserted are states, counts and orders: what
anything takes is the machine's affair, and a busy one may make gaps.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.bench import machine
from server.bench.load.set_up import measure_set_up
from server.bench.load.soak import run_soak
from server.bench.load.stage import LoadOptions, LoadStage, on_stage
from server.bench.systems import System
from server.cli.main import app
from server.demo.stage import StageError

CALLS, SECS = 3, 2
WORDS = ("--calls", str(CALLS), "--secs", str(SECS), "--no-warm-up", "--system", "bridge")


Told = tuple[Result, dict[str, Any]]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One run of the command, and what it told of its only load."""
    folder: Path = tmp_path_factory.mktemp("bench")
    file = folder / "new folder" / "load.json"
    with pytest.MonkeyPatch.context() as patch:
        # A bench that somebody runs beside the tests is not waited for.
        patch.setattr(machine, "LOCK", folder / "lock")
        result = CliRunner().invoke(app, ["bench", "load", *WORDS, "--json", str(file)])
    (load,) = json.loads(file.read_text(encoding="utf-8"))["loads"]
    return result, load


def test_every_call_goes_as_it_should(run: Told) -> None:
    result, load = run
    assert (load["system"], load["calls"], load["problems"]) == ("bridge", CALLS, [])
    assert result.exit_code == 0, result.output
    assert f"{CALLS} bridge" in result.output


def test_nothing_is_lost_either_way(run: Told) -> None:
    _, load = run
    for way in (load["up"], load["down"]):
        # Every 460 or 480 ms one, of each call.
        assert way["ms"]["count"] >= CALLS * 3
        assert (way["lost"], way["strange"], way["missing_ms"]) == (0, 0, 0)


def test_costs_are_measured(run: Told) -> None:
    _, load = run
    cost = load["cost"]
    # A timer is exact to a millisecond.
    assert cost["secs"] >= SECS - 0.01
    assert 0 < cost["cpu_secs"] < cost["secs"] * 2
    assert 20 < cost["idle_mb"] <= cost["resident_mb"] < 1_000
    assert 0 < cost["generator_share"] < 2
    assert cost["late_ms"]["count"] > 100


@pytest.mark.long
async def test_calls_are_set_up_beside_others() -> None:
    options = LoadOptions(warm_up=False)
    found = await measure_set_up(System.BRIDGE, options, calls=2, beside=1)
    assert found.problems == []
    assert (found.system, found.beside, found.calls) == (System.BRIDGE, 1, 2)
    # A second is far more than any call takes, and far less than two talkers in all this time.
    assert abs(found.cpu_ms_per_call) < 1_000


@pytest.mark.long
async def test_a_soak_has_each_call_and_tells_of_memory() -> None:
    told: list[str] = []
    options = LoadOptions(warm_up=False)
    soak = await run_soak(System.BRIDGE, options, calls=2, at_once=2, tell=told.append)
    assert soak.problems == []
    assert [one.calls for one in soak.samples] == [1, 2, 2]
    assert [line.split(" calls")[0] for line in told] == [
        f"bridge: after {one.calls}" for one in soak.samples
    ]
    assert all(20 < one.resident_mb < 1_000 for one in soak.samples)
    # A growing server would be seen: a call's session and streams take more than this.
    assert abs(soak.samples[-1].resident_mb - soak.samples[0].resident_mb) < 20


async def place_on(stage: LoadStage) -> None:
    while True:
        await stage.place()
        await asyncio.sleep(0.01)


async def test_a_server_that_dies_under_load_is_said_with_its_last_words() -> None:
    async with on_stage(System.BRIDGE, LoadOptions(secs=1, warm_up=False), at_once=1) as stage:
        os.kill(stage.server.pid, signal.SIGKILL)
        with pytest.raises(StageError, match="bridge ended under load"):
            await place_on(stage)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--calls", "1,many"], "numbers with commas"),
        (["--calls", "0"], "at least one call"),
        (["--setting", "=on"], "NAME=VALUE"),
        (["--setting", "RECORDINGS"], "NAME=VALUE"),
        (["--system", "theirs"], "there are ours, warm"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["bench", "load", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert says in result.output


def test_help_is_whole_on_80_columns() -> None:
    result = CliRunner().invoke(app, ["bench", "load", "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert "…" not in result.output
    options = ("--find-limit", "--soak", "--at-once", "--set-up", "--beside", "--setting", "--json")
    for option in options:
        assert f"{option} " in result.output, option
