"""What people and programs are told of loads and soaks."""

import io
import json

import pytest
from rich.console import Console

from server.bench.load.report import as_json, print_sweep
from server.bench.load.run import told as told_of
from server.bench.load.set_up import SetUp
from server.bench.load.soak import Sample, Soak, growth_mb_per_100
from server.bench.load.stage import LoadOptions
from server.bench.load.sweep import Limit, Sweep
from server.bench.machine import Cores
from server.bench.statistics import summarise
from server.bench.systems import System
from tests.server.bench.load.samples import a_call, a_cost, a_load

USED = (System.OURS, System.PLAIN, System.BRIDGE, System.PLAIN_STARTER)


def a_sweep() -> Sweep:
    sweep = Sweep(LoadOptions(cores=Cores((1,), (0,))))
    secs = {System.OURS: 4.0, System.PLAIN: 8.0, System.BRIDGE: 2.0}
    sweep.loads.extend(
        [a_load(a_call(), system=one, cost=a_cost(cpu_secs=secs[one])) for one in secs]
    )
    return sweep


def printed(sweep: Sweep, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_sweep(sweep, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_costs_are_compared_with_both_references_under_the_same_load() -> None:
    sweep = a_sweep()
    ours = sweep.loads[0]
    assert sweep.cpu_ratio(ours, System.BRIDGE) == 2.0
    assert sweep.cpu_ratio(ours, System.PLAIN) == 0.5
    assert sweep.cpu_ratio(ours, System.OURS) is None


def test_the_table_has_a_row_for_each() -> None:
    rows = [line for line in printed(a_sweep()).splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1 ours", "1 plain", "1 bridge"]
    assert "2.0/2.0" in rows[0]
    assert "2.00│" in rows[0]


def test_a_load_beyond_what_a_core_carries_is_whole_on_80_columns() -> None:
    sweep = a_sweep()
    slow = a_call(lost=15, latency_ms=12_345.0)
    cost = a_cost(cpu_secs=12.34 * 100 / 6)
    sweep.loads.extend([a_load(*[slow] * 100, system=one, cost=cost) for one in USED])
    said = printed(sweep, width=80)
    assert "…" not in said
    for figure in ("starter", "12345", "12.34", "200, 0", "1.00"):
        assert figure in said, figure


def test_json_holds_everything() -> None:
    told = json.loads(json.dumps(as_json(a_sweep())))
    ours = told["loads"][0]
    assert ours["system"] == "ours"
    assert ours["cpu_ratio_to_bridge"] == 2.0
    assert ours["up"]["ms"]["p50"] == pytest.approx(2.0)
    assert ours["generator_was_limit"] is False
    assert told["options"]["cores"] == {"server": [1], "load": [0]}


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (a_cost(generator_share=0.9), "the load generator was the limit"),
        (a_cost(others_share=0.4), "others took 40% of the server's core"),
    ],
)
def test_what_spoils_the_figures_is_said(cost: object, says: str) -> None:
    sweep = a_sweep()
    sweep.loads[0] = a_load(a_call(), cost=cost)  # type: ignore[arg-type]
    assert says in printed(sweep)
    assert says not in printed(a_sweep())


def test_a_generator_that_was_late_is_said() -> None:
    cost = a_cost()
    sweep = a_sweep()
    late = summarise([6.0] * 10)
    sweep.loads[0] = a_load(a_call(), cost=type(cost)(10, 5, 0, 0, 0, 0.1, late))
    assert "6.0 ms late at p99" in printed(sweep)
    assert as_json(sweep)["loads"][0]["generator_was_limit"] is True


def test_a_call_that_went_wrong_is_named() -> None:
    sweep = a_sweep()
    sweep.loads[0] = a_load(a_call(), problems=("call 0: it went [away]",))
    assert "1 × ours: call 0: it went [away]" in printed(sweep)


def test_a_limit_says_what_broke() -> None:
    sweep = a_sweep()
    sweep.searched.append(a_load(a_call()))
    sweep.limits[System.OURS] = Limit(70, ["7 gaps"])
    assert "ours carries 70 calls on one core; then: 7 gaps" in printed(sweep)
    assert as_json(sweep)["limits"] == {"ours": {"calls": 70, "then": ["7 gaps"]}}
    assert len(as_json(sweep)["loads"]) == 4


def test_one_line_says_what_was_lost() -> None:
    assert "lost 2, 0" in str(a_load(a_call(lost=15)))


def test_growth_is_that_of_the_second_half() -> None:
    begins = [Sample(number * 100, 200 + 50 * number) for number in range(5)]
    flat = [Sample(500 + number * 100, 450 + number) for number in range(5)]
    assert growth_mb_per_100([*begins, *flat]) == pytest.approx(1.0)


@pytest.mark.parametrize("talking", [[], [1], [1, 1]])
def test_nothing_grows_between_less_than_two_moments(talking: list[int]) -> None:
    assert growth_mb_per_100([Sample(calls, 50.0 + calls) for calls in talking]) == 0.0


def on_80_columns(*found: Soak | SetUp) -> str:
    console = Console(file=io.StringIO(), width=80)
    told_of("any", found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_soak_is_told_whole() -> None:
    samples = [Sample(100, 51.0), Sample(100, 50.5)]
    soak = Soak(System.BRIDGE, 20, samples, 0.25, ["call 3: gone"])
    assert " ".join(on_80_columns(soak).split()) == (
        "bridge: 100 calls, 20 at once; 50.5 MB with nobody on the phone; "
        "grows by 0.25 MB per 100 calls (second half) bridge: call 3: gone"
    )
    told, problems = told_of("soaks", [soak], Console(file=io.StringIO()))
    assert told["soaks"][0]["samples"][0] == {"calls": 100, "resident_mb": 51.0}
    assert told["soaks"][0]["growth_mb_per_100"] == 0.25
    assert problems == ["call 3: gone"]


def a_set_up(*problems: str) -> SetUp:
    """Of fifty calls, beside twenty others."""
    return SetUp(System.OURS, 50, 20, 10.04, list(problems))


def test_a_set_up_is_one_number_a_call() -> None:
    (line,) = on_80_columns(a_set_up()).splitlines()
    assert line == "ours: a call's set-up takes 10.0 ms of CPU beside 20 others (mean of 50)"


def test_a_set_up_that_went_wrong_says_so() -> None:
    said = on_80_columns(a_set_up(), a_set_up("call 1: silent"))
    assert said.count("ours: call 1: silent") == 1


def test_a_set_up_is_told_to_programs() -> None:
    told, _ = told_of("set_ups", [a_set_up()], Console(file=io.StringIO()))
    (one,) = json.loads(json.dumps(told))["set_ups"]
    assert (one["system"], one["beside"], one["calls"]) == ("ours", 20, 50)
    assert one["cpu_ms_per_call"] == pytest.approx(10.04)


def test_of_many_problems_only_some_are_told_and_their_number() -> None:
    said = on_80_columns(a_set_up(*(f"call {n}: [silent]" for n in range(25))))
    assert said.count("[silent]") == 10
    assert "ours: 25 problems in all" in said
